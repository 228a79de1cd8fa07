package bundle

import (
	"fmt"
	"os"
	"testing"

	"github.com/athens-go/athens/internal/modtest"
)

// A test may run this program again, as a process that imports; see childEnv.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if err := importAsChild(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(modtest.Main(m))
}
