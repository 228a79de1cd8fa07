package web

// Held says how much is held, by the index, private modules included: for metrics. It
// reports false until Run has walked over the store. Bytes are of the modules that were
// measured, see [Options.MaxMeasured].
func (s *Site) Held() (modules, versions int, bytes int64, ok bool) {
	s.index.all("", func(h *held) bool {
		modules++
		versions += int(h.count)
		bytes += h.bytes
		return true
	})
	return modules, versions, bytes, s.index.built.Load()
}
