package server

import (
	"context"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/athens-go/athens/serve/metrics"
)

// useGauges adds to the metrics what the parts hold.
func (p *Parts) useGauges() {
	if p.metrics == nil {
		return
	}
	if p.site != nil {
		p.metrics.AddStore(p.site.Held)
	}
	if p.follower != nil {
		p.followGauges()
	}
	if p.events != nil {
		p.followerGauges()
	}
	if p.evicting != nil {
		p.metrics.AddEvictions(func() metrics.Evictions {
			s := p.evicting.Stats()
			return metrics.Evictions{HeldBytes: s.Bytes, MaxBytes: s.MaxBytes, Versions: s.Evicted, Bytes: s.EvictedBytes, Last: s.LastEviction, Exceeded: s.Exceeded}
		})
	}
	if dir, err := p.Flags.GitDir(); err == nil {
		p.metrics.AddRepositories((&folder{dir: dir}).size)
	}
}

// folder measures a folder, at most once a minute.
type folder struct {
	dir string

	mu    sync.Mutex
	at    time.Time
	bytes int64
}

// size adds up the files. A folder that is not there has none.
func (f *folder) size(ctx context.Context) (int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.at.IsZero() && time.Since(f.at) < time.Minute {
		return f.bytes, true
	}
	var bytes int64
	_ = filepath.WalkDir(f.dir, func(_ string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil { // otherwise it was removed meanwhile
				bytes += info.Size()
			}
		}
		return nil
	})
	if ctx.Err() != nil {
		return 0, false
	}
	f.at, f.bytes = time.Now(), bytes
	return bytes, true
}
