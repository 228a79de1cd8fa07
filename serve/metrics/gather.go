package metrics

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/athens-go/athens/fill"
)

// Kind is what a family's values are.
type Kind string

// The kinds. A counter only grows until the process ends; a histogram counts durations.
const (
	KindCounter   Kind = "counter"
	KindGauge     Kind = "gauge"
	KindHistogram Kind = "histogram"
)

// Family is a metric with all its labels' values.
type Family struct {
	// Name is in the way of OpenTelemetry, such as athens.requests. [Family.Prometheus]
	// has the other.
	Name string
	// Unit is s, By or {things}; empty or 1 means a number without one.
	Unit    string
	Help    string
	Kind    Kind
	Samples []Sample
}

// Sample is one value of a family.
type Sample struct {
	Labels []Label
	// Value is of a counter or gauge, and the sum of a histogram.
	Value float64
	// Buckets are a histogram's counts, not cumulated: one for each of [Bounds], and
	// one for what is above.
	Buckets []uint64
}

// Label is a name and a value.
type Label struct{ Name, Value string }

// Bounds returns the upper ends of a histogram's buckets, in seconds.
func Bounds() []float64 {
	all := make([]float64, len(bounds))
	for i, d := range bounds {
		all[i] = d.Seconds()
	}
	return all
}

// Gather reads all metrics. The state of fills that can't be asked for is left out.
func (m *Metrics) Gather(ctx context.Context) []Family {
	m.mu.Lock()
	handler, fills, gauges := m.handler, m.fills, slices.Clone(m.gauges)
	m.mu.Unlock()

	all := append(m.ofRequests(), m.ofOperations()...)
	if handler != nil {
		stats := handler.Stats()
		all = append(all,
			one("athens.conflicts", "{conflict}", "Contradictions: other content for a stored version, or a checksum database against itself.", KindCounter, float64(stats.Conflicts)),
			one("athens.damaged", "{version}", "Times that a stored version was found damaged.", KindCounter, float64(stats.Damaged)),
			one("athens.fills.dropped", "{fill}", "Fills that the scheduler did not take.", KindCounter, float64(stats.DroppedFills)))
		if stats.LedgerRecords > 0 {
			all = append(all, one("athens.ledger.records", "{record}", "Records in the ledger, as far as this server has seen.", KindGauge, float64(stats.LedgerRecords)))
		}
	}
	if status, ok := statusOf(ctx, fills); ok {
		all = append(all, ofFills(status)...)
	}
	for _, g := range gauges {
		if v, ok := g.Read(ctx); ok {
			all = append(all, one(g.Name, g.Unit, g.Help, cmp.Or(g.Kind, KindGauge), v))
		}
	}
	return append(all, ofRuntime(m.started)...)
}

// one is a family of one sample without labels.
func one(name, unit, help string, kind Kind, v float64) Family {
	return Family{name, unit, help, kind, []Sample{{Value: v}}}
}

// ofRequests returns what requests were answered with.
func (m *Metrics) ofRequests() []Family {
	count, bytes, took := newSums(), newSums(), newSums()
	for k, s := range *m.requests.known.Load() {
		labels := []Label{{"file", k.file}, {"outcome", k.outcome}, {"source", k.source}}
		count.value(labels, float64(s.count()))
		bytes.value(labels, float64(s.amount.Load()))
		took.histogram([]Label{{"http.request.method", k.method}, {"http.route", route(k.file)}, {"http.response.status_code", statusText(k.status)}}, s)
	}
	return []Family{
		{"athens.requests", "{request}", "Answered requests.", KindCounter, count.samples()},
		{"athens.response.bytes", "By", "Bytes of the bodies that were sent.", KindCounter, bytes.samples()},
		{"http.server.request.duration", "s", "Time from a request to the end of its answer.", KindHistogram, took.samples()},
		one("http.server.active_requests", "{request}", "Requests that are being answered.", KindGauge, float64(m.serving.Load())),
	}
}

// ofOperations returns what was done with sources and the store.
func (m *Metrics) ofOperations() []Family {
	bytes, took, active := newSums(), newSums(), newSums()
	for k, s := range *m.operations.known.Load() {
		took.histogram([]Label{{"op", k.op}, {"source", k.source}, {"outcome", k.outcome}}, s)
		bytes.value([]Label{{"op", k.op}, {"source", k.source}}, float64(s.amount.Load()))
	}
	for op, s := range *m.active.known.Load() {
		active.value([]Label{{"op", op}}, float64(s.amount.Load()))
	}
	return []Family{
		{"athens.operation.duration", "s", "Time that an operation on a source or the store took.", KindHistogram, took.samples()},
		{"athens.operation.bytes", "By", "Bytes that were fetched or stored.", KindCounter, bytes.samples()},
		{"athens.operations.active", "{operation}", "Operations on a source or the store that are running.", KindGauge, active.samples()},
	}
}

// ofFills returns the state of fills.
func ofFills(s fill.Status) []Family {
	var oldest time.Duration
	for _, e := range slices.Concat(s.Pending, s.Running) {
		oldest = max(oldest, time.Since(e.Scheduled))
	}
	journal := 1.0
	if s.Journal != "" {
		journal = 0
	}
	by := func(name, value string, v int64) Sample {
		return Sample{Labels: []Label{{name, value}}, Value: float64(v)}
	}
	return []Family{
		{"athens.fills", "{fill}", "Fills that are to be done.", KindGauge, []Sample{by("state", "pending", s.Counts.Pending), by("state", "running", s.Counts.Running)}},
		{"athens.fills.ended", "{fill}", "Fills that were done, given up or not accepted.", KindCounter, []Sample{
			by("outcome", "done", s.Counts.Done), by("outcome", "failed", s.Counts.Failed), by("outcome", "rejected", s.Counts.Rejected),
		}},
		one("athens.fills.oldest.age", "s", "Age of the oldest fill that is to be done.", KindGauge, oldest.Seconds()),
		one("athens.fills.journal.ok", "1", "1 while pending fills would survive a restart.", KindGauge, journal),
	}
}

// statusOf asks a FillScheduler that can tell what it has.
func statusOf(ctx context.Context, fills any) (s fill.Status, ok bool) {
	switch f := fills.(type) {
	case interface{ Status() fill.Status }:
		return f.Status(), true
	case interface {
		Status(ctx context.Context) (fill.Status, error)
	}:
		s, err := f.Status(ctx)
		return s, err == nil
	}
	return s, false
}

// count is how many durations a series has.
func (s *series) count() (n uint64) {
	for i := range s.buckets {
		n += s.buckets[i].Load()
	}
	return n
}

// sums adds up series that have the same labels.
type sums map[string]Sample

func newSums() sums { return make(sums) }

func (all sums) value(labels []Label, v float64) {
	key := keyOf(labels)
	s := all[key]
	s.Labels, s.Value = labels, s.Value+v
	all[key] = s
}

func (all sums) histogram(labels []Label, from *series) {
	key := keyOf(labels)
	s := all[key]
	if s.Buckets == nil {
		s.Buckets = make([]uint64, len(from.buckets))
	}
	for i := range from.buckets {
		s.Buckets[i] += from.buckets[i].Load()
	}
	s.Labels, s.Value = labels, s.Value+time.Duration(from.nanos.Load()).Seconds()
	all[key] = s
}

// samples returns the sums in a lasting order.
func (all sums) samples() []Sample {
	keys := slices.SortedFunc(maps.Keys(all), cmp.Compare[string])
	list := make([]Sample, 0, len(keys))
	for _, k := range keys {
		list = append(list, all[k])
	}
	return list
}

func keyOf(labels []Label) string {
	var b strings.Builder
	for _, l := range labels {
		b.WriteString(l.Value)
		b.WriteByte(0)
	}
	return b.String()
}
