package events_test

import (
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/events"
)

// BenchmarkWarm is what a request for what is held pays for a feed.
func BenchmarkWarm(b *testing.B) {
	f, err := events.New(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	var o athens.Options
	f.Watch(&o)
	e := athens.Event{Op: athens.OpRequest, Module: version("a.test/m", "v1.0.0"), Outcome: athens.OutcomeHeld}
	for b.Loop() {
		o.Observe(e)
	}
}

// BenchmarkAdd is what storing a version pays for it, and BenchmarkRemoval a removal, which
// is synced.
func BenchmarkAdd(b *testing.B)     { benchmarkAdd(b, events.Recorded) }
func BenchmarkRemoval(b *testing.B) { benchmarkAdd(b, events.Removed) }

func benchmarkAdd(b *testing.B, kind string) {
	f, err := events.New(b.TempDir(), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for b.Loop() {
		f.Add(b.Context(), kind, version("a.test/m", "v1.0.0"), "")
	}
}
