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

// counts returns how many modules and versions there are.
func (x *index) counts() (modules, versions int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.now.Load()
	modules, versions = len(c.mods), c.count
	for path, h := range x.fresh {
		if i, ok := c.find(path); ok {
			versions += int(h.count - c.mods[i].count)
		} else {
			modules, versions = modules+1, versions+int(h.count)
		}
	}
	return modules, versions
}
