package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/ledger/follow"
	"github.com/athens-go/athens/redirect"
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
const fillsAtOnce = 16

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
	p.sumdb = key
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
