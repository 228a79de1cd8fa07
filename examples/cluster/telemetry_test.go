package main

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/athens-go/athens/backends/nats/embedded"
	"github.com/athens-go/athens/internal/modtest"
)

// receiver is a collector of OpenTelemetry: it keeps which spans of a trace came from which
// service.
type receiver struct {
	trace string // its ID

	mu      sync.Mutex
	spans   map[string]bool // "service name"
	ids     map[string]bool
	parents map[string]string // of each span, its parent
	metrics int               // requests that brought some
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	if req.URL.Path == "/v1/metrics" && len(body) > 0 {
		r.metrics++
		return
	}
	var sent collector.ExportTraceServiceRequest
	if err = errors.Join(err, proto.Unmarshal(body, &sent)); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for _, from := range sent.ResourceSpans {
		service := ""
		for _, a := range from.Resource.Attributes {
			if a.Key == "service.name" {
				service = a.Value.GetStringValue()
			}
		}
		for _, scope := range from.ScopeSpans {
			for _, span := range scope.Spans {
				if hex.EncodeToString(span.TraceId) == r.trace {
					id := hex.EncodeToString(span.SpanId)
					r.spans[service+" "+span.Name], r.ids[id], r.parents[id] = true, true, hex.EncodeToString(span.ParentSpanId)
				}
			}
		}
	}
}

// has reports whether spans with these names have come, and metrics.
func (r *receiver) has(names ...string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if !r.spans[name] {
			return false
		}
	}
	return r.metrics > 0
}

// follow asks a proxy on a clean plate, behind a registry that is a replica too, and finds
// one trace that begins at the client and goes through both to version control.
func (w *world) follow() {
	t := w.t
	const trace, client = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	r := &receiver{trace: trace, spans: map[string]bool{}, ids: map[string]bool{client: true}, parents: map[string]string{}}
	collects := httptest.NewServer(r)
	t.Cleanup(collects.Close)
	replica := func(name string, args ...string) *modtest.Process {
		queue, err := embedded.New(t.TempDir(), &embedded.Options{Addr: "127.0.0.1:0"})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, queue.Close()) })
		env := append(append(modtest.NewGo(t, w.net).Env(), modtest.S3Env()...), "OTEL_EXPORTER_OTLP_ENDPOINT="+collects.URL,
			"OTEL_SERVICE_NAME="+name, "OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_METRIC_EXPORT_INTERVAL=200")
		return modtest.Start(t, w.bin, append([]string{"-addr", "127.0.0.1:0", "-dir", t.TempDir(), "-private", "none",
			"-bucket", w.s3.URL("modules") + "&prefix=" + name + "/", "-nats", "nats://" + queue.Addr()}, args...), env)
	}
	registry := replica("registry", "-upstream", "off")
	proxy := replica("proxy", "-upstream", registry.URL, "-miss", "fetch")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, proxy.URL+"/git.test/simple/@v/v1.0.0.zip", nil)
	require.NoError(t, err)
	req.Header.Set("Traceparent", "00-"+trace+"-"+client+"-01")
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	_, err = io.Copy(io.Discard, resp.Body)
	require.NoError(t, errors.Join(err, resp.Body.Close()))
	require.Equal(t, http.StatusOK, resp.StatusCode)
	modtest.Eventually(t, "the spans of both", func() bool {
		return r.has("proxy GET zip", "proxy athens zip", "registry GET zip", "registry athens zip", "registry athens commit")
	})
	modtest.Eventually(t, "the parent of each span", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, parent := range r.parents {
			if !r.ids[parent] {
				return false
			}
		}
		return true
	})
	assert.NotZero(t, w.net.Count("git.test/simple"), "version control was asked")
}
