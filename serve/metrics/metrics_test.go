package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/metrics"
	"github.com/athens-go/athens/storage"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

// text returns what Prometheus reads.
func text(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	assert.Equal(t, "text/plain; version=0.0.4; charset=utf-8", w.Header().Get("Content-Type"))
	return w.Body.String()
}

// event is that of an answered request.
func event(file, outcome, source string, status int, bytes int64, took time.Duration) athens.Event {
	return athens.Event{
		Op: athens.OpRequest, Module: module.Version{Path: "example.com/secret", Version: "v1.0.0"}, File: file, Outcome: outcome,
		Source: source, Status: status, Bytes: bytes, Duration: took, Request: httptest.NewRequest("GET", "/", nil),
	}
}

func TestEventsAreCounted(t *testing.T) {
	m := metrics.New()
	var seen int
	o := athens.Options{Observe: func(athens.Event) { seen++ }}
	m.Watch(&o)
	o.Observe(event("zip", athens.OutcomeHeld, athens.SourceStore, 200, 1000, 700*time.Microsecond))
	o.Observe(event("zip", athens.OutcomeHeld, athens.SourceStore, 206, 24, 2*time.Second))
	o.Observe(event("list", athens.OutcomeRemembered, athens.SourceMemory, 200, 8, time.Millisecond))
	o.Observe(athens.Event{Op: athens.OpZip, Source: athens.SourceVCS, Outcome: athens.OutcomeFailed, Duration: time.Hour, Bytes: 7})
	assert.Equal(t, 4, seen, "the Observe that was there gets all events, too")

	got := text(t, m)
	for _, line := range []string{
		"# TYPE athens_requests_total counter",
		`athens_requests_total{file="zip",outcome="held",source="store"} 2`,
		`athens_requests_total{file="list",outcome="remembered",source="memory"} 1`,
		`athens_response_bytes_total{file="zip",outcome="held",source="store"} 1024`,
		"# TYPE http_server_request_duration_seconds histogram",
		`http_server_request_duration_seconds_bucket{http_request_method="GET",http_route="/{module}/@v/{version}.zip",http_response_status_code="200",le="0.001"} 1`,
		`http_server_request_duration_seconds_bucket{http_request_method="GET",http_route="/{module}/@v/{version}.zip",http_response_status_code="206",le="1"} 0`,
		`http_server_request_duration_seconds_bucket{http_request_method="GET",http_route="/{module}/@v/{version}.zip",http_response_status_code="206",le="2.5"} 1`,
		`http_server_request_duration_seconds_bucket{http_request_method="GET",http_route="/{module}/@v/{version}.zip",http_response_status_code="206",le="+Inf"} 1`,
		`http_server_request_duration_seconds_sum{http_request_method="GET",http_route="/{module}/@v/{version}.zip",http_response_status_code="206"} 2`,
		`http_server_request_duration_seconds_count{http_request_method="GET",http_route="/{module}/@v/list",http_response_status_code="200"} 1`,
		`athens_operation_duration_seconds_bucket{op="zip",source="vcs",outcome="failed",le="300"} 0`,
		`athens_operation_duration_seconds_count{op="zip",source="vcs",outcome="failed"} 1`,
		`athens_operation_bytes_total{op="zip",source="vcs"} 7`,
	} {
		assert.Contains(t, got, line+"\n")
	}
	assert.NotContains(t, got, "secret", "module paths are no labels")
	for _, name := range []string{"go_goroutine_count", "go_memory_used_bytes", "go_memory_allocated_bytes_total", "process_uptime_seconds", "athens_build_info{version="} {
		assert.Contains(t, got, "\n"+name)
	}
}

// What is running is a gauge, and the Trace that was there is called.
func TestRunningOperations(t *testing.T) {
	m := metrics.New()
	type key struct{}
	var ended error
	o := athens.Options{Trace: func(ctx context.Context, op string, _ module.Version) (context.Context, func(error)) {
		return context.WithValue(ctx, key{}, op), func(err error) { ended = err }
	}}
	m.Watch(&o)
	ctx, end := o.Trace(t.Context(), athens.OpZip, module.Version{})
	assert.Equal(t, athens.OpZip, ctx.Value(key{}))
	assert.Contains(t, text(t, m), "athens_operations_active{op=\"zip\"} 1\n")
	end(io.EOF)
	assert.Equal(t, io.EOF, ended)
	assert.Contains(t, text(t, m), "athens_operations_active{op=\"zip\"} 0\n")

	h := m.Requests(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		assert.Contains(t, text(t, m), "http_server_active_requests 1\n")
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	assert.Contains(t, text(t, m), "http_server_active_requests 0\n")
}

// shared is a queue that is asked over a network.
type shared struct {
	athens.FillScheduler
	err error
}

func (s shared) Status(context.Context) (fill.Status, error) {
	return fill.Status{
		Pending: []fill.Entry{{Scheduled: time.Now().Add(-time.Hour)}}, Counts: fill.Counts{Pending: 3, Failed: 2}, Journal: "disk full",
	}, s.err
}

func TestFillsAndStats(t *testing.T) {
	m := metrics.New()
	h, err := athens.NewHandler(storage.NewMemory(), nil)
	require.NoError(t, err)
	m.Track(h, shared{})
	m.Add(metrics.Gauge{Name: "athens.store.size", Unit: "By", Help: `Of "all" \ files.`, Read: func(context.Context) (float64, bool) { return 1 << 20, true }})
	m.Add(metrics.Gauge{Name: "athens.unknown", Read: func(context.Context) (float64, bool) { return 0, false }})
	got := text(t, m)
	assert.Contains(t, got, "athens_fills{state=\"pending\"} 3\n")
	assert.Contains(t, got, "athens_fills_ended_total{outcome=\"failed\"} 2\n")
	assert.Contains(t, got, "\nathens_fills_oldest_age_seconds 3600.")
	assert.Contains(t, got, "\nathens_fills_journal_ok 0\n")
	assert.Contains(t, got, "\nathens_conflicts_total 0\n")
	assert.Contains(t, got, "# HELP athens_store_size_bytes Of \"all\" \\\\ files.\n# TYPE athens_store_size_bytes gauge\nathens_store_size_bytes 1.048576e+06\n")
	assert.NotContains(t, got, "athens_unknown")

	m.Track(h, shared{err: errors.New("down")})
	assert.NotContains(t, text(t, m), "athens_fills{")
	queue, err := fill.New(nil)
	require.NoError(t, err)
	m.Track(h, queue)
	assert.Contains(t, text(t, m), "athens_fills_oldest_age_seconds 0\n")
}

// A handler that calls itself anything can't make series without end.
func TestSeriesAreBounded(t *testing.T) {
	m := metrics.New()
	var o athens.Options
	m.Watch(&o)
	for i := range 5000 {
		o.Observe(event(fmt.Sprint("f", i), "o", "s", 200, 1, 0))
	}
	got := text(t, m)
	assert.Less(t, strings.Count(got, "athens_requests_total{"), 1002)
	assert.Contains(t, got, `athens_requests_total{file="other",outcome="other",source="other"} 4000`)
}

func TestCountingCostsNoAllocation(t *testing.T) {
	m := metrics.New()
	var o athens.Options
	m.Watch(&o)
	for _, file := range []string{"info", "list", "mod", "zip"} {
		e := event(file, athens.OutcomeHeld, athens.SourceStore, 200, 1000, time.Millisecond)
		assert.Zero(t, testing.AllocsPerRun(100, func() { o.Observe(e) }), file)
	}
	assert.Contains(t, text(t, m), `athens_requests_total{file="list",outcome="held",source="store"} 101`)
}

func BenchmarkObserve(b *testing.B) {
	m := metrics.New()
	var o athens.Options
	m.Watch(&o)
	var all []athens.Event
	for _, file := range []string{"info", "list", "mod", "zip"} {
		all = append(all, event(file, athens.OutcomeHeld, athens.SourceStore, 200, 1000, time.Millisecond))
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		o.Observe(all[i%len(all)])
	}
}
