package ledgertest

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
)

// growCases are about what stays as a ledger grows.
var growCases = []Case{
	{"append-only", "each head is the beginning of the later ones, seen by those who ask while others add", alone(checkAppendOnly)},
	{"reopen", "what was added is there when the ledger is opened again, with the same key, and the log goes on where it was", checkReopen},
}

func checkAppendOnly(ctx context.Context, l athens.Ledger) error {
	const rounds, step = 4, 150 // more than two tiles
	var heads []tlog.Tree
	for round := range rounds {
		added := make(chan error, 1)
		go func() {
			_, err := addMany(ctx, l, step*round, step*(round+1))
			added <- err
		}()
		for done := false; !done; {
			select {
			case err := <-added:
				if err != nil {
					return err
				}
				done = true
			default:
			}
			tree, err := Head(ctx, l)
			if err != nil {
				return err
			}
			// A ledger that always says something else would fill the memory.
			if len(heads) == 0 || tree != heads[len(heads)-1] && len(heads) < rounds*step {
				heads = append(heads, tree)
			}
		}
		if err := staysAsItIs(ctx, l); err != nil {
			return err
		}
	}
	for _, old := range heads {
		if err := Extends(ctx, l, old); err != nil {
			return err
		}
	}
	return size(ctx, l, rounds*step)
}

// staysAsItIs compares each head with the next while nobody adds.
func staysAsItIs(ctx context.Context, l athens.Ledger) error {
	last, err := Head(ctx, l)
	for range 3 {
		if err != nil {
			return err
		}
		next, nextErr := Head(ctx, l)
		if nextErr == nil && next != last {
			return fmt.Errorf("the head is of %d records and then, though nobody adds, of %d, or of others", last.N, next.N)
		}
		last, err = next, nextErr
	}
	return err
}

func checkReopen(ctx context.Context, open Open) error {
	var old tlog.Tree
	var key string
	for round := range 3 {
		l, err := open()
		if err != nil {
			return err
		}
		err = checkReopened(ctx, l, round, &old, &key)
		if err := errors.Join(err, closed(l)); err != nil {
			return fmt.Errorf("opened %d times: %w", round+1, err)
		}
	}
	return nil
}

func checkReopened(ctx context.Context, l athens.Ledger, round int, old *tlog.Tree, key *string) error {
	const step = 150
	if round > 0 && l.VerifierKey() != *key {
		return fmt.Errorf("the key was %s and is %s", *key, l.VerifierKey())
	}
	if round > 0 {
		if err := Extends(ctx, l, *old); err != nil {
			return err
		}
	}
	if err := size(ctx, l, int64(step*round)); err != nil {
		return err
	}
	for i := range step * round {
		if err := NewSample(i, "").Proved(ctx, l); i%10 == 0 && err != nil {
			return err
		}
	}
	if _, err := addMany(ctx, l, step*round, step*(round+1)); err != nil {
		return err
	}
	if round > 0 {
		if err := Extends(ctx, l, *old); err != nil {
			return err
		}
	}
	all, err := since(ctx, l, zeroTime)
	if err != nil || len(all) != step*(round+1) {
		return fmt.Errorf("Since yields %d records, %v, want %d", len(all), err, step*(round+1))
	}
	for i := 1; i < len(all); i++ {
		if !all[i].at.After(all[i-1].at) {
			return fmt.Errorf("record %d is not later than the one before", i)
		}
	}
	*key = l.VerifierKey()
	*old, err = Head(ctx, l)
	return err
}
