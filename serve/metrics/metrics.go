// Package metrics counts what a handler does, for a monitoring system. It depends on the
// standard library only; Prometheus reads it as text, and package otel under backends/
// hands it to OpenTelemetry.
//
//	m := metrics.New()
//	m.Watch(&options)                       // before NewHandler
//	handler, err := athens.NewHandler(store, &options)
//	err = serve.Run(ctx, handler, &serve.Options{Metrics: m, OpsAddr: "127.0.0.1:3009"})
//
// serve.Run connects the metrics with the handler and the fills, and serves them to
// operators as /metrics.
//
// A [Metrics] counts each event when it happens, at a cost of less than 0.2 µs, and
// [Metrics.Gather] reads the counts. There are few names and labels, and all are known: no
// label has a module path, a client, or anything else that a client could choose. Where
// OpenTelemetry has a semantic convention, the name follows it, such as
// http.server.request.duration; all other names begin with "athens.". docs/operations.md
// lists them.
package metrics

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Metrics counts. Its methods may be called from many goroutines at the same time.
type Metrics struct {
	requests   *table[requestKey]
	operations *table[operationKey]
	started    time.Time
	serving    atomic.Int64   // requests now
	active     *table[string] // operations now

	mu      sync.Mutex
	handler *athens.Handler
	fills   athens.FillScheduler
	gauges  []Gauge
}

// Gauge is a value that is asked for when metrics are read.
type Gauge struct {
	Name, Unit, Help string
	// Kind is KindGauge or KindCounter. Empty means KindGauge.
	Kind Kind
	// Read returns the value now; false leaves it out.
	Read func(ctx context.Context) (value float64, ok bool)
}

// requestKey is what requests are told apart by.
type requestKey struct {
	method, file, outcome, source string
	status                        int
}

// operationKey is what operations on sources and the store are told apart by.
type operationKey struct{ op, source, outcome string }

// How many series a table has at most. Values come from the handler, so there are far fewer.
const maxSeries = 1000

// New returns Metrics that have counted nothing.
func New() *Metrics {
	return &Metrics{
		started:    time.Now(),
		requests:   newTable(requestKey{"other", "other", "other", "other", 0}),
		operations: newTable(operationKey{"other", "other", "other"}),
		active:     newTable("other"),
	}
}

// Watch adds m to the Observe and Trace of o, beside what is there.
func (m *Metrics) Watch(o *athens.Options) {
	observe, trace := o.Observe, o.Trace
	o.Observe = func(e athens.Event) {
		m.count(&e)
		if observe != nil {
			observe(e)
		}
	}
	o.Trace = func(ctx context.Context, op string, about module.Version) (context.Context, func(error)) {
		end := func(error) {}
		if trace != nil {
			ctx, end = trace(ctx, op, about)
		}
		now := m.active.at(op)
		now.amount.Add(1)
		return ctx, func(err error) {
			now.amount.Add(-1)
			end(err)
		}
	}
}

// Track makes the counts of handler and, if it is not nil, the state of fills part of the
// metrics. [serve.Run] calls it.
//
// [serve.Run]: https://pkg.go.dev/github.com/athens-go/athens/serve#Run
func (m *Metrics) Track(handler *athens.Handler, fills athens.FillScheduler) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.handler, m.fills = handler, fills
}

// Add makes g part of the metrics.
func (m *Metrics) Add(g Gauge) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gauges = append(m.gauges, g)
}

// Requests returns a handler that counts the requests that next is answering now. It
// passes on the http.ResponseWriter of the server, so that the kernel still copies files.
func (m *Metrics) Requests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.serving.Add(1)
		defer m.serving.Add(-1)
		next.ServeHTTP(w, r)
	})
}

// count counts an event.
func (m *Metrics) count(e *athens.Event) {
	var s *series
	if e.Op == athens.OpRequest {
		s = m.requests.at(requestKey{method(e.Request), e.File, e.Outcome, e.Source, e.Status})
	} else {
		s = m.operations.at(operationKey{e.Op, e.Source, e.Outcome})
	}
	s.add(e.Duration)
	s.amount.Add(e.Bytes)
}

// method names the methods that the protocol has, as semantic conventions want it.
func method(r *http.Request) string {
	if r != nil && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		return r.Method
	}
	return "_OTHER"
}

// route is what the paths of a kind of file look like.
func route(file string) string {
	switch file {
	case "info", "mod", "zip":
		return "/{module}/@v/{version}." + file
	case "list":
		return "/{module}/@v/list"
	case "latest":
		return "/{module}/@latest"
	case "query":
		return "/{module}/@v/{query}.info"
	case "sumdb":
		return "/sumdb/{database}/{path}"
	}
	return ""
}

// statusText is a status as a label.
func statusText(status int) string {
	if status == 0 {
		return ""
	}
	return strconv.Itoa(status)
}

// bounds are the upper ends of the buckets of a duration, in seconds: from an answer out of
// memory to the clone of a large repository.
var bounds = [...]time.Duration{
	time.Millisecond, 5 * time.Millisecond, 10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond, time.Second, 2500 * time.Millisecond,
	5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute,
}

// series is what is counted under one key.
type series struct {
	buckets [len(bounds) + 1]atomic.Uint64
	nanos   atomic.Int64
	amount  atomic.Int64 // of bytes, or of what is running
}

func (s *series) add(d time.Duration) {
	i := 0
	for i < len(bounds) && d > bounds[i] {
		i++
	}
	s.buckets[i].Add(1)
	s.nanos.Add(int64(d))
}

// table has a series for each key. Reading takes no lock: there are few keys, and they are
// soon all known.
type table[K comparable] struct {
	known atomic.Pointer[map[K]*series]
	other K // counts what there is no room for
	mu    sync.Mutex
}

func newTable[K comparable](other K) *table[K] {
	t := &table[K]{other: other}
	t.known.Store(&map[K]*series{})
	return t
}

// at returns the series of key.
func (t *table[K]) at(key K) *series {
	if s := (*t.known.Load())[key]; s != nil {
		return s
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	old := *t.known.Load()
	if len(old) >= maxSeries {
		key = t.other
	}
	if s := old[key]; s != nil {
		return s
	}
	next := make(map[K]*series, len(old)+1)
	for k, s := range old {
		next[k] = s
	}
	next[key] = new(series)
	t.known.Store(&next)
	return next[key]
}
