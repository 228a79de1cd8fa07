package metrics

import "context"

// AddStore makes what a store holds part of the metrics. Held is asked when metrics are
// read; false leaves the gauges out.
func (m *Metrics) AddStore(held func() (modules, versions int, bytes int64, ok bool)) {
	gauge := func(name, unit, help string, value func(modules, versions int, bytes int64) float64) {
		m.Add(Gauge{name, unit, help, func(context.Context) (float64, bool) {
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
	m.Add(Gauge{"athens.repositories.bytes", "By", "Bytes of the repositories that are kept for the next fetch.", func(ctx context.Context) (float64, bool) {
		bytes, ok := size(ctx)
		return float64(bytes), ok
	}})
}
