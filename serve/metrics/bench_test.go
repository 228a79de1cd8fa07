package metrics_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/serve/metrics"
	"github.com/athens-go/athens/storage"
)

// What metrics cost a warm request, over loopback: compare off and on.
func BenchmarkWarm(b *testing.B) {
	store := storage.NewMemory()
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	athenstest.Hold(b, store, athenstest.NewVersion(b, m), true)
	for _, on := range []bool{false, true} {
		name := "metrics=off"
		var o athens.Options
		counted := metrics.New()
		if on {
			name = "metrics=on"
			counted.Watch(&o)
		}
		b.Run(name, func(b *testing.B) {
			h, err := athens.NewHandler(store, &o)
			require.NoError(b, err)
			var root http.Handler = h
			if on {
				root = counted.Requests(h)
			}
			server := httptest.NewServer(root)
			defer server.Close()
			for b.Loop() {
				resp, err := http.Get(server.URL + "/example.com/m/@v/v1.0.0.info")
				require.NoError(b, err)
				_, err = io.Copy(io.Discard, resp.Body)
				require.NoError(b, err)
				require.NoError(b, resp.Body.Close())
			}
		})
	}
}
