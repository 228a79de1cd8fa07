package follow

import (
	"errors"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/backoff"
)

// Status is how far a follower is.
type Status struct {
	Records int64 `json:"records"`         // that were verified, and are served
	Offered int64 `json:"offered_records"` // of the largest head that the primary has signed
	Held    int64 `json:"held_records"`    // whose versions are here, or were removed
	Removed int64 `json:"removed_records"` // of these, what the primary has removed
	Pending int64 `json:"pending"`         // versions that are scheduled
	Failed  int64 `json:"failed"`          // versions that the primary can't give, or gives with other content
	// Lag is how many records the primary has whose versions are not here.
	Lag int64 `json:"lag_records"`
	// LagTime is how long ago nothing was missing; zero if nothing is and the primary
	// answers. A start counts as such a time.
	LagTime time.Duration `json:"lag_nanoseconds"`
	// Refused is how many heads and answers of the primary contradicted what was verified.
	Refused int64 `json:"refused"`
	// Error is why the last look at the primary failed; empty if it did not.
	Error string `json:"error,omitempty"`
}

// state is what the looks at the primary have led to.
type state struct {
	level   time.Time // when nothing was missing
	refused int64
	err     error
	said    time.Time // when err was logged
}

// Status returns how far the follower is.
func (f *Follower) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.progress()
	s.Refused = f.state.refused
	if f.state.err != nil {
		s.Error = backoff.Reason(f.state.err)
	}
	if s.Lag > 0 || f.state.err != nil {
		s.LagTime = time.Since(f.state.level)
	}
	return s
}

// progress counts records and versions.
func (f *Follower) progress() Status {
	s := Status{Records: f.mirror.Size()}
	s.Offered = max(s.Records, f.offered.Load())
	f.feed.mu.Lock()
	defer f.feed.mu.Unlock()
	s.Held, s.Removed = f.feed.held, f.feed.removed
	for _, w := range f.feed.pending {
		if w.failed {
			s.Failed++
		} else {
			s.Pending++
		}
	}
	s.Lag = s.Offered - s.Held
	return s
}

// sayAgain is how often the log repeats what is still wrong.
const sayAgain = time.Minute

// noteRound notes the result of a look at the primary.
func (f *Follower) noteRound(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := f.state.err
	f.state.err = err
	if err == nil {
		if was != nil {
			f.opts.Logger.Info("follow: the primary answers again", "records", f.mirror.Size())
		}
		if f.progress().Lag == 0 {
			f.state.level = time.Now()
		}
		return
	}
	refused := athens.Final(err)
	fork, forked := errors.AsType[*ForkError](err)
	if refused || forked {
		f.state.refused++
	}
	if was != nil && was.Error() == err.Error() && time.Since(f.state.said) < sayAgain {
		return
	}
	f.state.said = time.Now()
	switch {
	case forked:
		f.opts.Logger.Error("follow: fork: the primary's log contradicts the verified one, which is still served", "error", err, "held", string(fork.Held), "offered", string(fork.Offered))
	case refused:
		f.opts.Logger.Error("follow: the primary's answer is refused", "error", err)
	default:
		f.opts.Logger.Warn("follow: the primary's log could not be taken over", "error", err)
	}
}
