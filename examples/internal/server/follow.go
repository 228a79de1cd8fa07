package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/ledger/follow"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/serve/metrics"
	"github.com/athens-go/athens/serve/web"
)

// followFlags are those of a registry that follows another.
type followFlags struct{ url, key string }

// FollowFlags defines them.
func (f *Flags) FollowFlags() {
	f.StringVar(&f.follow.url, "follow", "", "be a copy of the registry with a ledger at this `URL`: read its log, fetch each version in it, and serve both, also while it is down;\nempty means a registry of its own")
	f.StringVar(&f.follow.key, "follow-key", "", "the public `key` of its ledger, NAME+HASH+KEY, as its clients have it in GOSUMDB; empty means that of -ledger and -ledger-key.\nTo take its place, start with these two and without -follow")
}

// check refuses what contradicts following.
func (w *followFlags) check(f *Flags) error {
	switch {
	case w.url == "" && w.key != "":
		return errors.New("-follow-key needs -follow URL")
	case w.url == "":
		return nil
	case f.SumDB != "off" && f.SumDB != "":
		return errors.New("-follow and -sumdb exclude each other: the ledger of the registry that is followed verifies all modules")
	}
	f.privateUpstream = true // its ledger has private modules, too
	return nil
}

// fillsAtOnce is how many versions a follower fetches at once.
const fillsAtOnce = 32

// workers is how many fills run at once; 0 means the queue's default.
func (w *followFlags) workers() int {
	if w.url == "" {
		return 0
	}
	return fillsAtOnce
}

// maxSumDBAnswer is the size in bytes of 256 records of the largest size.
const maxSumDBAnswer = 5 << 20

// useFollow makes the server a copy of the one that -follow names.
func (p *Parts) useFollow(l *LedgerFlags) error {
	key, err := p.followKey(l)
	if err != nil {
		return err
	}
	store, err := p.Flags.StoreDir()
	if err != nil {
		return err
	}
	up, err := redirect.New(p.Flags.follow.url, &redirect.Options{MaxSumDBAnswerBytes: maxSumDBAnswer, Logger: p.Log})
	if err != nil {
		return fmt.Errorf("-follow: %w", err)
	}
	p.closes(up)
	var primary athens.SumDBUpstream
	if !p.Flags.Offline {
		primary = up
		p.Options.Upstream, p.Options.MissFetch, p.upstream = up, true, up.String()
	}
	dir, _, seen := l.files(store)
	f, err := follow.New(dir, key, primary, &follow.Options{Seen: seen, Logger: p.Log})
	if err != nil {
		return err
	}
	p.closes(f)
	f.Watch(&p.Options)
	p.sumdb, p.follower, p.follow = key, f, true
	p.background = append(p.background, func(ctx context.Context) { f.Run(ctx, p.Store, p.Fills) })
	return nil
}

// followKey returns the public key of the ledger that is followed. If the private one is
// given, too, they have to belong to each other.
func (p *Parts) followKey(l *LedgerFlags) (string, error) {
	key := p.Flags.follow.key
	if *l.name == "" {
		if key == "" {
			return "", errors.New("-follow needs -follow-key NAME+HASH+KEY, as the clients of that registry have it in GOSUMDB")
		}
		return key, p.noLedger("ledger-key", "ledger-old-key")
	}
	if key != "" && *l.key == "" {
		return key, nil // -ledger is there for the day without -follow
	}
	store, err := p.Flags.StoreDir()
	if err != nil {
		return "", err
	}
	_, file, _ := l.files(store)
	private, err := readKey(file)
	if err != nil {
		return "", fmt.Errorf("-ledger-key: %w", err)
	}
	public, _, err := l.check(private)
	if err == nil && key != "" && key != public {
		err = fmt.Errorf("-follow-key is %s, and the key of -ledger-key is %s", key, public)
	}
	return public, err
}

// following is what the page of the ledger says of the registry that is followed.
func (p *Parts) following() web.Following {
	s := p.follower.Status()
	return web.Following{Primary: p.upstream, Records: s.Records, Offered: s.Offered, Lag: s.Lag, LagTime: s.LagTime, Failed: s.Failed, Error: s.Error}
}

// followGauges adds to the metrics how far the server is behind the one that it follows.
func (p *Parts) followGauges() {
	for _, g := range []struct {
		name, unit, help string
		value            func(follow.Status) float64
	}{
		{"athens.follow.lag.records", "{record}", "Records of the registry that is followed whose versions are not here.", func(s follow.Status) float64 { return float64(s.Lag) }},
		{"athens.follow.lag", "s", "How long ago nothing of the registry that is followed was missing; 0 if nothing is.", func(s follow.Status) float64 { return s.LagTime.Seconds() }},
		{"athens.follow.failed", "{version}", "Versions that the registry that is followed can't give, or gives with other content.", func(s follow.Status) float64 { return float64(s.Failed) }},
		{"athens.follow.refused", "{answer}", "Heads and answers of the registry that is followed that contradicted what was verified, since the start.", func(s follow.Status) float64 { return float64(s.Refused) }},
	} {
		p.metrics.Add(metrics.Gauge{Name: g.name, Unit: g.unit, Help: g.help, Read: func(context.Context) (float64, bool) {
			return g.value(p.follower.Status()), true
		}})
	}
}
