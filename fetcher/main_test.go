package fetcher_test

import (
	"os"
	"testing"

	"github.com/athens-go/athens/internal/modtest"
)

func TestMain(m *testing.M) { os.Exit(modtest.MainInMemory(m)) }
