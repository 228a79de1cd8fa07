package events

import (
	"context"
	"crypto/rand"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// identity returns what tells one follower of that name from another: it says nothing about
// the machine, and stays the same as long as the state does.
func (f *Follower) identity() string {
	if f.opts.Name == "" {
		return ""
	}
	if f.state.ID == "" || len(f.state.ID) > 16 {
		f.state.ID, f.behind = strings.ToLower(rand.Text()[:8]), true
	}
	return f.opts.Name + "-" + f.state.ID
}

// about adds to a query who asks, and how far it is.
func (f *Follower) about(query url.Values) {
	if f.name == "" {
		return
	}
	query.Set("follower", f.name)
	if f.opts.Behind != nil {
		records, lacking := f.opts.Behind()
		query.Set("records", strconv.FormatInt(records, 10))
		query.Set("lacking", strconv.FormatInt(lacking, 10))
	}
}

// reports tells the source again and again how far this server is, while it can be reached.
func (f *Follower) reports(ctx context.Context) {
	if f.name == "" {
		return
	}
	tick := time.NewTicker(reportTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if f.connected.Load() {
			f.report(ctx)
		}
	}
}

// report tells it once. A failure means nothing: the stream of events fails, too.
func (f *Follower) report(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	query := url.Values{"report": {"1"}, "after": {strconv.FormatInt(f.applied.Load(), 10)}}
	f.about(query)
	body, err := f.source.Stream(ctx, "events", query.Encode())
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = body.Close() })()
	_, _ = io.Copy(io.Discard, io.LimitReader(body, maxBlock))
	_ = body.Close()
}
