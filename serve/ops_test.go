package serve

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/metrics"
)

// Metrics and profiles are for operators, not for clients.
func TestMetricsAndProfilesAreForOperators(t *testing.T) {
	var opts athens.Options
	m := metrics.New()
	m.Watch(&opts)
	h := newHandler(t, &opts)
	r := runService(t, h, Options{Metrics: m, OpsAddr: "127.0.0.1:0"})
	ask(t, "GET", r.url+"/example.com/m/@latest")
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile"} {
		status, body := ask(t, "GET", r.url+path)
		assert.Equal(t, http.StatusNotFound, status, path)
		assert.NotContains(t, body, "goroutine")
	}

	ops := NewOps(h, &OpsOptions{Metrics: m})
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		ops.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w
	}
	page := get("/metrics").Body.String()
	assert.Contains(t, page, `athens_requests_total{file="latest",outcome="missing",source=""} 1`)
	assert.Contains(t, page, "http_server_active_requests 0\n")
	assert.Contains(t, page, "athens_conflicts_total 0\n")
	assert.Contains(t, get("/debug/pprof/").Body.String(), "goroutine\t")
	assert.Contains(t, get("/debug/pprof/goroutine?debug=1").Body.String(), "goroutine profile: total")
	for _, path := range []string{"/debug/pprof/heap", "/debug/pprof/profile?seconds=0.01", "/debug/pprof/trace?seconds=0.01"} {
		w := get(path)
		assert.Equal(t, http.StatusOK, w.Code, path)
		assert.Equal(t, "application/octet-stream", w.Header().Get("Content-Type"), path)
		assert.NotEmpty(t, w.Body.Bytes(), path)
	}
	for path, want := range map[string]int{
		"/debug/pprof/nothing": 404, "/debug/pprof/profile?seconds=x": 400, "/debug/pprof/profile?seconds=-1": 400,
		"/debug/pprof/trace?seconds=1e9": 400, "/debug/pprof/trace?seconds=NaN": 400,
	} {
		assert.Equal(t, want, get(path).Code, path)
	}
	r.stop()
	require.NoError(t, <-r.end)
	w := httptest.NewRecorder()
	NewOps(h, nil).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	assert.Equal(t, http.StatusNotFound, w.Code)
}
