package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/athens-go/athens/fill"
)

// Status returns the pending and failed fills on the server, and the running and done
// fills of this process. Pending and its count include fills that run in other
// processes; the order is that in which they were stored or last postponed. Each entry
// of Pending and Failed costs a round trip.
func (q *Queue) Status(ctx context.Context) (fill.Status, error) {
	s := fill.Status{Pending: []fill.Entry{}, Running: []fill.Entry{}, Failed: []fill.Entry{}}
	q.mu.Lock()
	here := make(map[uint64]bool, len(q.running))
	for _, j := range q.running {
		here[j.seq] = true
		s.Running = append(s.Running, j.entry())
	}
	s.Done = append([]fill.Entry{}, q.done...)
	s.Counts.Done, s.Counts.Rejected = q.ended, q.rejected
	q.mu.Unlock()
	slices.SortFunc(s.Running, func(a, b fill.Entry) int { return a.Started.Compare(b.Started) })
	s.Counts.Running = int64(len(s.Running))
	s.Running = s.Running[:min(len(s.Running), q.opts.Recent)]
	slices.Reverse(s.Done)

	streams, err := q.there(ctx)
	if err != nil {
		return fill.Status{}, err
	}
	held, err := q.list(ctx, streams.todo, q.opts.Recent+len(here), false, func(m *jetstream.RawStreamMsg) {
		if e, ok := q.pendingEntry(m); ok && !here[m.Sequence] {
			s.Pending = append(s.Pending, e)
		}
	})
	if err != nil {
		return fill.Status{}, err
	}
	s.Counts.Pending = max(int64(held)-int64(len(here)), 0)
	s.Pending = s.Pending[:min(len(s.Pending), q.opts.Recent)]
	given, err := q.list(ctx, streams.failed, q.opts.Recent, true, func(m *jetstream.RawStreamMsg) {
		if e, ok := q.failedEntry(m); ok {
			s.Failed = append(s.Failed, e)
		}
	})
	if err != nil {
		return fill.Status{}, err
	}
	s.Counts.Failed = int64(given)
	slices.Reverse(s.Failed)
	return s, nil
}

// list calls see for the first n messages, or for those among the last n sequence
// numbers. It returns how many messages there are.
func (q *Queue) list(ctx context.Context, stream jetstream.Stream, n int, last bool, see func(*jetstream.RawStreamMsg)) (uint64, error) {
	info, err := stream.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("nats: %w", err)
	}
	seq := info.State.FirstSeq
	if last && info.State.LastSeq > uint64(n) {
		seq = max(seq, info.State.LastSeq-uint64(n)+1)
	}
	for range min(uint64(n), info.State.Msgs) {
		m, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(">"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return 0, fmt.Errorf("nats: %w", err)
		}
		see(m)
		seq = m.Sequence + 1
	}
	return info.State.Msgs, nil
}

func (q *Queue) pendingEntry(m *jetstream.RawStreamMsg) (fill.Entry, bool) {
	v, err := parseSubject(q.prefix("todo"), m.Subject)
	if err != nil {
		return fill.Entry{}, false
	}
	s, err := parseState(m.Data)
	if err != nil {
		return fill.Entry{}, false
	}
	j := job{state: s, module: v, stored: m.Time}
	if j.Scheduled.IsZero() {
		j.Scheduled = m.Time
	}
	e := j.entry()
	e.Due = j.due()
	return e, true
}

func (q *Queue) failedEntry(m *jetstream.RawStreamMsg) (fill.Entry, bool) {
	v, err := parseSubject(q.prefix("failed"), m.Subject)
	var e fill.Entry
	if err != nil || len(m.Data) > maxMessage || json.Unmarshal(m.Data, &e) != nil {
		return fill.Entry{}, false
	}
	e.Path, e.Version = v.Path, v.Version // the subject says which one it is
	return e, true
}
