package otel_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/otel"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/serve/metrics"
	"github.com/athens-go/athens/storage"
)

func TestMain(m *testing.M) { os.Exit(modtest.Main(m)) }

// source is version control with one module and no versions of it that can be fetched.
type source struct{}

func (source) Versions(context.Context, string) ([]string, error) { return []string{"v1.0.0"}, nil }

func (source) Resolve(_ context.Context, path, query string) (*athens.Info, error) {
	return nil, &athens.MissingError{Path: path, Query: query}
}

func (source) Fetch(_ context.Context, m module.Version) (athens.Content, error) {
	return nil, &athens.MissingError{Path: m.Path, Query: m.Version}
}

// server serves a traced handler with opts. Its spans are in the exporter.
func server(t *testing.T, name string, spans *tracetest.InMemoryExporter, opts func(*otel.Telemetry) athens.Options) *httptest.Server {
	t.Helper()
	telemetry, err := otel.Start(t.Context(), nil, &otel.Options{ServiceName: name, SpanExporter: spans})
	require.NoError(t, err)
	o := opts(telemetry)
	telemetry.Watch(&o)
	h, err := athens.NewHandler(storage.NewMemory(), &o)
	require.NoError(t, err)
	s := httptest.NewServer(telemetry.Requests(h))
	t.Cleanup(func() {
		s.Close()
		assert.NoError(t, h.Shutdown(context.Background()))
	})
	return s
}

// One trace follows a request of a client through a proxy and a registry to version control,
// also where its work is shared.
func TestOneTraceFollowsARequest(t *testing.T) {
	t.Setenv("OTEL_METRICS_EXPORTER", "none")
	spans := tracetest.NewInMemoryExporter() // of both
	registry := server(t, "registry", spans, func(*otel.Telemetry) athens.Options { return athens.Options{Fetcher: source{}} })
	proxy := server(t, "proxy", spans, func(telemetry *otel.Telemetry) athens.Options {
		up, err := redirect.New(registry.URL, &redirect.Options{Header: telemetry.Header})
		require.NoError(t, err)
		return athens.Options{Upstream: up, MissFetch: true}
	})
	for _, path := range []string{"/example.com/m/@v/list", "/example.com/m/@v/v1.0.0.mod"} {
		spans.Reset()
		req, err := http.NewRequestWithContext(t.Context(), "GET", proxy.URL+path, nil)
		require.NoError(t, err)
		req.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
		resp, err := http.DefaultTransport.RoundTrip(req)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())

		kind := path[strings.LastIndexAny(path, "./")+1:]
		op := map[string]string{"list": "athens list", "mod": "athens mod"}[kind]
		var requests, operations int
		modtest.Eventually(t, "all spans of "+path, func() bool { // a server ends its span after the answer
			requests, operations = 0, 0
			for _, s := range spans.GetSpans() {
				if s.Name == "GET "+kind {
					requests++
				}
				if s.Name == op {
					operations++
				}
			}
			return requests == 2 && operations >= 1
		})
		seen := map[string]bool{"b7ad6b7169203331": true}
		for _, s := range spans.GetSpans() {
			seen[s.SpanContext.SpanID().String()] = true
		}
		for _, s := range spans.GetSpans() {
			assert.Equal(t, "0af7651916cd43dd8448eb211c80319c", s.SpanContext.TraceID().String(), s.Name)
			assert.True(t, seen[s.Parent.SpanID().String()], "%s has a parent in the trace", s.Name)
		}
		if kind == "list" {
			assert.Equal(t, 2, operations, "the proxy asks the registry, and that version control")
		}
	}
}

// OpenTelemetry has the metrics under their own names, with the same values.
func TestProducer(t *testing.T) {
	m := metrics.New()
	reader := metric.NewManualReader(metric.WithProducer(otel.Producer(m)))
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	telemetry, err := otel.Start(t.Context(), m, &otel.Options{MetricReader: reader})
	require.NoError(t, err)
	var o athens.Options
	m.Watch(&o)
	telemetry.Watch(&o)
	h, err := athens.NewHandler(storage.NewMemory(), &o)
	require.NoError(t, err)
	for range 3 {
		telemetry.Requests(h).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/example.com/m/@v/list", nil))
	}
	var got metricdata.ResourceMetrics
	require.NoError(t, reader.Collect(t.Context(), &got))
	found := map[string]metricdata.Metrics{}
	for _, scope := range got.ScopeMetrics {
		for _, f := range scope.Metrics {
			found[f.Name] = f
		}
	}
	requests := found["athens.requests"].Data.(metricdata.Sum[float64])
	require.Len(t, requests.DataPoints, 1)
	assert.Equal(t, 3.0, requests.DataPoints[0].Value)
	assert.True(t, requests.IsMonotonic)
	took := found["http.server.request.duration"]
	assert.Equal(t, "s", took.Unit)
	assert.Equal(t, uint64(3), took.Data.(metricdata.Histogram[float64]).DataPoints[0].Count)
	for _, f := range m.Gather(t.Context()) {
		if len(f.Samples) > 0 {
			assert.Contains(t, found, f.Name)
		}
	}
	require.NoError(t, telemetry.Shutdown(t.Context()))
}

// The environment says where traces and metrics go.
func TestEnvironment(t *testing.T) {
	var mu sync.Mutex
	got := map[string]int{}
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got[r.URL.Path] += len(body)
	}))
	defer collector.Close()
	for _, name := range []string{"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SDK_DISABLED"} {
		t.Setenv(name, "")
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	run := func() error {
		m := metrics.New()
		telemetry, err := otel.Start(t.Context(), m, nil)
		if err != nil {
			return err
		}
		telemetry.Requests(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		return telemetry.Shutdown(t.Context())
	}
	require.NoError(t, run())
	assert.Positive(t, got["/v1/traces"])
	assert.Positive(t, got["/v1/metrics"])

	clear(got)
	t.Setenv("OTEL_METRICS_EXPORTER", "none")
	t.Setenv("OTEL_TRACES_EXPORTER", "none")
	require.NoError(t, run())
	assert.Empty(t, got)

	t.Setenv("OTEL_TRACES_EXPORTER", "jaeger")
	assert.ErrorContains(t, run(), `OTEL_TRACES_EXPORTER must be otlp or none, not "jaeger"`)
	t.Setenv("OTEL_TRACES_EXPORTER", "")
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
	assert.ErrorContains(t, run(), `must be http/protobuf, not "grpc"`)
	t.Setenv("OTEL_SDK_DISABLED", "true")
	assert.NoError(t, run())
}
