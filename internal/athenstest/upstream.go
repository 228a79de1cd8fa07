package athenstest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Upstream is a registry to which clients can be redirected.
type Upstream struct {
	*Source
	Base string // "": nobody is sent there
}

// NewUpstream returns an upstream that has the versions of the source. Clients are
// redirected to URLs that begin with base.
func NewUpstream(s *Source, base string) *Upstream { return &Upstream{Source: s, Base: base} }

// Location returns Base and the path, "" if Base is empty, or fails as "location".
func (u *Upstream) Location(ctx context.Context, protocolPath string) (string, error) {
	if _, err := u.question(ctx, "location", module.Version{Path: protocolPath}); err != nil {
		return "", err
	}
	if u.Base == "" {
		return "", nil
	}
	return u.Base + protocolPath, nil
}

// Fills is a FillScheduler that records the fills and runs none.
type Fills struct {
	mu    sync.Mutex
	fills []string
	Full  bool
}

// Schedule records a fill, and fails if Full is set.
func (q *Fills) Schedule(_ context.Context, f athens.Fill, after time.Duration) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.Full {
		return errors.New("the queue is full")
	}
	what := f.Module.String()
	if f.Zip {
		what += " zip"
	}
	q.fills = append(q.fills, fmt.Sprintf("%s after %v", what, after))
	return nil
}

// Run returns at once: no fill is ever run.
func (q *Fills) Run(context.Context, func(context.Context, athens.Fill) error) error { return nil }

// Take returns what was scheduled since the last take.
func (q *Fills) Take() []string {
	q.mu.Lock()
	defer q.mu.Unlock()
	fills := q.fills
	q.fills = nil
	return fills
}
