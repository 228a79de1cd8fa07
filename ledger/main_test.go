package ledger_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// childEnv makes the test binary a process that adds to a ledger: it has the folder,
// the copy of the head, the key, and the numbers of the first sample and of the one
// behind the last.
const childEnv = "ATHENS_LEDGER_CHILD"

func TestMain(m *testing.M) {
	if args := strings.Fields(os.Getenv(childEnv)); len(args) == 5 {
		if err := addAsChild(context.Background(), args); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(modtest.Main(m))
}

// addAsChild adds samples, and writes a line with what was answered after each. What
// fails is tried twice.
func addAsChild(ctx context.Context, args []string) error {
	from, err1 := strconv.Atoi(args[3])
	to, err2 := strconv.Atoi(args[4])
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%v %v", err1, err2)
	}
	l, err := ledger.New(args[0], args[2], &ledger.Options{Seen: args[1]})
	if err != nil {
		return err
	}
	for i := from; i < to; i++ {
		if _, err = ledgertest.NewSample(i, "").Add(ctx, l); err != nil {
			_, err = ledgertest.NewSample(i, "").Add(ctx, l)
		}
		if err != nil {
			continue
		}
		signed, err := l.Signed(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("added %d %s\n", i, base64.StdEncoding.EncodeToString(signed))
	}
	return l.Close()
}
