package athens

import (
	"context"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/limit"
)

// background runs jobs that no client and no FillScheduler waits for: each once
// at a time, and a few of them at once.
type background struct {
	jobs  *flight.Calls[job, struct{}]
	slots *limit.Semaphore
}

// job names a piece of background work.
type job struct {
	kind   string // jobZip or jobRecheck
	module module.Version
}

const (
	jobZip     = "zip"     // a version from version control needs its zip
	jobRecheck = "recheck" // the store checks a version again
)

func newBackground(ctx context.Context, slots int) *background {
	return &background{jobs: flight.NewCalls[job, struct{}](ctx), slots: limit.NewSemaphore(slots)}
}

// start runs work as soon as a slot is free, unless that job waits or runs already.
func (b *background) start(kind string, m module.Version, work func(context.Context)) {
	b.jobs.Start(job{kind, m}, func(ctx context.Context) (struct{}, error) {
		if err := b.slots.Acquire(ctx); err != nil {
			return struct{}{}, err
		}
		defer b.slots.Release()
		work(ctx)
		return struct{}{}, nil
	})
}
