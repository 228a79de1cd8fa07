package metrics

import (
	"context"
	"time"
)

// AddStore makes what a store holds part of the metrics. Held is asked when metrics are
// read; false leaves the gauges out.
func (m *Metrics) AddStore(held func() (modules, versions int, bytes int64, ok bool)) {
	gauge := func(name, unit, help string, value func(modules, versions int, bytes int64) float64) {
		m.Add(Gauge{Name: name, Unit: unit, Help: help, Read: func(context.Context) (float64, bool) {
			modules, versions, bytes, ok := held()
			return value(modules, versions, bytes), ok
		}})
	}
	gauge("athens.store.modules", "{module}", "Modules of which versions are held.", func(modules, _ int, _ int64) float64 { return float64(modules) })
	gauge("athens.store.versions", "{version}", "Versions that are held.", func(_, versions int, _ int64) float64 { return float64(versions) })
	gauge("athens.store.bytes", "By", "Bytes of the held zips and .mod files that were measured.", func(_, _ int, bytes int64) float64 { return float64(bytes) })
}

// AddRepositories makes the size of the repositories that version control keeps part of the
// metrics. Size is asked when metrics are read; false leaves the gauge out.
func (m *Metrics) AddRepositories(size func(ctx context.Context) (bytes int64, ok bool)) {
	m.Add(Gauge{Name: "athens.repositories.bytes", Unit: "By", Help: "Bytes of the repositories that are kept for the next fetch.", Read: func(ctx context.Context) (float64, bool) {
		bytes, ok := size(ctx)
		return float64(bytes), ok
	}})
}

// Evictions is what a store with a bound holds and has evicted since the start.
type Evictions struct {
	HeldBytes, MaxBytes int64
	Versions            uint64
	Bytes               int64
	Last                time.Time // zero: there was none
	Exceeded            bool      // nothing of what is too much may be evicted
}

// AddEvictions makes the evictions of a store part of the metrics. Read is called when metrics
// are read. evict.Store.Stats has the values.
func (m *Metrics) AddEvictions(read func() Evictions) {
	add := func(kind Kind, name, unit, help string, value func(Evictions) float64) {
		m.Add(Gauge{Name: name, Unit: unit, Help: help, Kind: kind, Read: func(context.Context) (float64, bool) {
			e := read()
			return value(e), true
		}})
	}
	add(KindCounter, "athens.evictions", "{version}", "Versions that were evicted.", func(e Evictions) float64 { return float64(e.Versions) })
	add(KindCounter, "athens.evicted.bytes", "By", "Bytes of the versions that were evicted.", func(e Evictions) float64 { return float64(e.Bytes) })
	add(KindGauge, "athens.eviction.held.bytes", "By", "Bytes that count against the bound of the store.", func(e Evictions) float64 { return float64(e.HeldBytes) })
	add(KindGauge, "athens.eviction.bound.bytes", "By", "The bound of the store.", func(e Evictions) float64 { return float64(e.MaxBytes) })
	add(KindGauge, "athens.eviction.exceeded", "1", "1 while more than the bound is held and nothing of it may be evicted.", func(e Evictions) float64 {
		if e.Exceeded {
			return 1
		}
		return 0
	})
	m.Add(Gauge{Name: "athens.eviction.last.time", Unit: "s", Help: "When a version was evicted last, in Unix time.", Read: func(context.Context) (float64, bool) {
		last := read().Last
		return float64(last.UnixMilli()) / 1000, !last.IsZero()
	}})
}
