package server

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/events"
	"github.com/athens-go/athens/serve/metrics"
	"github.com/athens-go/athens/serve/web"
)

// EventsFlag defines -events, for servers that others may follow.
func (f *Flags) EventsFlag() *bool {
	return f.Bool("events", false, "tell at /events which versions are recorded, removed, hidden and restored, and which modules have news, to those who\nmay read them; not given means that nobody is told")
}

// UseEvents opens the feed of -events beside the store. It comes after what sets the ledger
// and the tokens.
func (p *Parts) UseEvents(wanted bool) error {
	if !wanted {
		return nil
	}
	dir, err := p.Flags.StoreDir()
	if err != nil {
		return err
	}
	opts := &events.Options{Store: p.marks(), Logger: p.Log}
	if p.tokens != nil {
		opts.Allow = p.tokens.Allow
	}
	if p.events, err = events.New(filepath.Join(dir, events.Folder), opts); err != nil {
		return fmt.Errorf("-events: %w", err)
	}
	p.closes(p.events)
	p.background = append(p.background, p.events.Run)
	return nil
}

// marks is the store with the marks of what was taken back.
func (p *Parts) marks() athens.Storage {
	if p.evicting != nil {
		return p.evicting.Medium
	}
	return p.Store
}

// Events puts the feed, if there is one, before a handler.
func (p *Parts) Events(next http.Handler) http.Handler {
	if p.events == nil {
		return next
	}
	return p.events.Front(next)
}

// changed is what operators' orders and uploads tell of; nil without a feed.
func (p *Parts) changed() func(ctx context.Context, kind string, m module.Version, reason string) {
	if p.events == nil {
		return nil
	}
	return p.events.Add
}

// followers lists the servers that follow this one, for operators; nil without a feed.
func (p *Parts) followers() http.Handler {
	if p.events == nil {
		return nil
	}
	return http.HandlerFunc(p.events.ServeReaders)
}

// followerRows lists them for the page of the ledger.
func (p *Parts) followerRows() func() []web.Follower {
	if p.events == nil {
		return nil
	}
	return func() (all []web.Follower) {
		for _, r := range p.events.Readers() {
			all = append(all, web.Follower{
				Name: r.Name, Address: r.Address, Heard: r.Heard, LagEvents: r.LagEvents, LagTime: r.LagTime, Records: r.Records, LagRecords: r.LagRecords,
			})
		}
		return all
	}
}

// followerGauges adds to the metrics how many servers follow this one, and how far the last
// of them is behind.
func (p *Parts) followerGauges() {
	p.metrics.Add(metrics.Gauge{Name: "athens.followers", Unit: "{server}", Help: "Servers that follow this one.", Read: func(context.Context) (float64, bool) {
		return float64(len(p.events.Readers())), true
	}})
	p.metrics.Add(metrics.Gauge{Name: "athens.followers.lag", Unit: "s", Help: "How long ago the oldest event was told that one of the servers that follow this one has not applied.", Read: func(context.Context) (float64, bool) {
		most := 0.0
		for _, r := range p.events.Readers() {
			most = max(most, r.LagTime.Seconds())
		}
		return most, true
	}})
}

// progress says how far this server is with the log that it follows; nil if it follows none.
func (p *Parts) progress() func() (records, lacking int64) {
	if p.follower == nil {
		return nil
	}
	return func() (records, lacking int64) {
		s := p.follower.Status()
		return s.Records, s.Lag
	}
}

// told passes on what the upstream's events have changed here: to those who follow this
// server in turn, and to what fetches the versions of a log.
func (p *Parts) told(ctx context.Context, kind string, m module.Version, reason string) {
	switch {
	case p.events == nil, kind == events.Recorded: // told once it is stored here
	case kind == events.Reset:
		p.events.Reset()
	default:
		p.events.Add(ctx, kind, m, reason)
	}
	if p.follower != nil && (kind == events.Recorded || kind == events.Restored) {
		p.follower.Recheck(m)
	}
}

// useFollower follows the upstream's events, if -follow says so.
func (p *Parts) useFollower(handler *athens.Handler) error {
	source, ok := p.Options.Upstream.(events.Source)
	if !p.follow || !ok {
		return nil
	}
	dir, err := p.Flags.StoreDir()
	if err != nil {
		return err
	}
	follower, err := events.NewFollower(source, handler, p.Store, &events.FollowOptions{
		State:   filepath.Join(dir, ".upstream-events"), // no module path can have that name
		Mirror:  p.follower != nil,
		Name:    p.Flags.Name,
		Behind:  p.progress(),
		Changed: p.told,
		Logger:  p.Log,
	})
	if err != nil {
		return fmt.Errorf("-follow: %w", err)
	}
	p.background = append(p.background, follower.Run)
	return nil
}
