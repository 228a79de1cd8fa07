package protocoltest_test

import (
	"context"
	"maps"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

type spanKey struct{}

// The trace of a request is known to all operations that it causes, although they don't
// end with it, and nothing else of its context is.
func TestTraceFollowsRequest(t *testing.T) {
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	source := athenstest.NewSource(t, "upstream")
	source.Add(m)
	var mu sync.Mutex
	seen := make(map[string]any)
	h, err := athens.NewHandler(athenstest.NewStore(t), &athens.Options{
		Upstream: athenstest.NewUpstream(source, ""), MissFetch: true, Prefetch: -1, ListTTL: -1,
		Trace: func(ctx context.Context, op string, _ module.Version) (context.Context, func(error)) {
			mu.Lock()
			defer mu.Unlock()
			seen[op] = athens.RequestInfoFrom(ctx).TraceParent
			assert.Nil(t, ctx.Value(spanKey{}), op)
			_, bounded := ctx.Deadline()
			assert.True(t, bounded || op == athens.OpFill || !slices.Contains([]string{"info", "mod", "zip"}, op), op)
			return ctx, func(error) {}
		},
	})
	require.NoError(t, err)
	for _, path := range []string{"/@v/list", "/@latest", "/@v/v1.0.0.info", "/@v/v1.0.0.zip"} {
		r := httptest.NewRequest("GET", "/"+m.Path+path, nil)
		ctx, leave := context.WithCancel(athens.RequestInfo{TraceParent: "request"}.Context(context.WithValue(r.Context(), spanKey{}, "client")))
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r.WithContext(ctx))
		leave()
		assert.Equal(t, 200, w.Code, path+": "+w.Body.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, h.Shutdown(ctx))
	ops := slices.Sorted(maps.Keys(seen))
	assert.Equal(t, "commit info latest list mod put zip", strings.Join(ops, " "))
	for _, op := range ops {
		assert.Equal(t, "request", seen[op], op)
	}
}
