package metrics

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// ofRuntime returns what the Go runtime says of the process, under the names of the
// semantic conventions.
func ofRuntime(started time.Time) []Family {
	list := []struct {
		from string
		Family
	}{
		{"/sched/goroutines:goroutines", one("go.goroutine.count", "{goroutine}", "Live goroutines.", KindGauge, 0)},
		{"/memory/classes/total:bytes", one("go.memory.used", "By", "Memory that the Go runtime has of the system.", KindGauge, 0)},
		{"/gc/heap/live:bytes", one("go.memory.live", "By", "Heap that the last collection found in use.", KindGauge, 0)},
		{"/gc/heap/allocs:bytes", one("go.memory.allocated", "By", "Memory that was allocated on the heap.", KindCounter, 0)},
		{"/gc/heap/allocs:objects", one("go.memory.allocations", "{allocation}", "Allocations on the heap.", KindCounter, 0)},
		{"/gc/heap/goal:bytes", one("go.memory.gc.goal", "By", "Heap size at which the next collection ends.", KindGauge, 0)},
		{"/sched/gomaxprocs:threads", one("go.processor.limit", "{thread}", "Threads that run Go code at a time.", KindGauge, 0)},
		{"/cpu/classes/user:cpu-seconds", one("go.cpu.user.time", "s", "CPU time in Go code, as the runtime estimates it at each collection.", KindCounter, 0)},
		{"/cpu/classes/gc/total:cpu-seconds", one("go.cpu.gc.time", "s", "CPU time in collections, as the runtime estimates it.", KindCounter, 0)},
	}
	samples := make([]metrics.Sample, len(list))
	for i := range list {
		samples[i].Name = list[i].from
	}
	metrics.Read(samples)
	var all []Family
	for i, s := range samples {
		switch s.Value.Kind() {
		case metrics.KindUint64:
			list[i].Samples[0].Value = float64(s.Value.Uint64())
		case metrics.KindFloat64:
			list[i].Samples[0].Value = s.Value.Float64()
		default:
			continue // this runtime has it not
		}
		all = append(all, list[i].Family)
	}
	return append(all, build(),
		one("process.uptime", "s", "Time since the metrics began, which is about when the process did.", KindGauge, time.Since(started).Seconds()))
}

// build says what is running.
func build() Family {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		version = info.Main.Version
	}
	f := one("athens.build.info", "1", "Always 1; the labels say what is running.", KindGauge, 1)
	f.Samples[0].Labels = []Label{{"version", version}, {"go.version", runtime.Version()}}
	return f
}
