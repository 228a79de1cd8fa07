package athens

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"golang.org/x/mod/module"
)

// Without Trace, Observe and Logger, an operation and a request cost no allocation for
// them.
func TestObserveNothingCostsNothing(t *testing.T) {
	h := &Handler{opts: Options{Logger: slog.New(slog.DiscardHandler)}}
	x := &exchange{h: h, r: httptest.NewRequest("GET", "/example.com/m/@v/list", nil)}
	assert.Zero(t, testing.AllocsPerRun(100, x.observe))
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		op := h.opts.begin(context.Background(), OpInfo, SourceVCS, module.Version{Path: "example.com/m"})
		defer func() { op.end(nil) }()
		op.event.Bytes = 1
	}))
}
