package gitwire_test

import (
	"testing"

	"github.com/athens-go/athens/internal/modtest"
)

func TestMain(m *testing.M) { modtest.Main(m) }
