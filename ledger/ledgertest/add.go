package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// addCases are about what is recorded.
var addCases = []Case{
	{"empty", "an empty ledger has a signed head of no records; a version, a record or a tile it lacks is fs.ErrNotExist", alone(checkEmpty)},
	{"add", "records are numbered from 0 without a gap, and covered by a signed head when Add returns", alone(checkAdd)},
	{"same-again", "adding the same again returns the same number and changes nothing", alone(checkSameAgain)},
	{"conflict", "another hash for a recorded version is a ConflictError that names both, and is not recorded", alone(checkConflict)},
	{"bad", "malformed paths, versions and hashes are refused, and nothing of them is recorded", alone(checkBad)},
	{"canceled", "a method whose context is done returns its error", alone(checkCanceled)},
	{"together", "versions that are added at once are recorded once each", alone(checkTogether)},
	{"race", "of two hashes that are added at once for one version, one is recorded and the other a ConflictError", alone(checkRace)},
}

func checkEmpty(ctx context.Context, l athens.Ledger) error {
	s := NewSample(1, "")
	if err := size(ctx, l, 0); err != nil {
		return err
	}
	_, err := l.Lookup(ctx, s.Module)
	if err := missing("Lookup in an empty ledger", err); err != nil {
		return err
	}
	_, err = l.ReadRecords(ctx, 0, 1)
	if err := missing("ReadRecords of an empty ledger", err); err != nil {
		return err
	}
	return checkTile(ctx, l, 8, 0, 0, 1, false)
}

func checkAdd(ctx context.Context, l athens.Ledger) error {
	for i := range 5 {
		s := NewSample(i, "")
		id, err := s.Add(ctx, l)
		if err != nil {
			return err
		}
		if id != int64(i) {
			return fmt.Errorf("the number of record %d is %d", i, id)
		}
		if err := size(ctx, l, int64(i)+1); err != nil {
			return err
		}
		for j := range i + 1 {
			if err := NewSample(j, "").Proved(ctx, l); err != nil {
				return err
			}
		}
	}
	// Names that differ in little are different versions.
	for i, m := range []module.Version{
		{Path: "example.com/mod", Version: "v1.1.0"}, {Path: "example.com/Mod", Version: "v1.1.0-pre"},
		{Path: "example.com/Mod/v2", Version: "v2.1.0"}, {Path: "example.com/Mod", Version: "v2.1.0+incompatible"},
	} {
		s := Sample{m, hash(m.String()), hash("mod")}
		if id, err := s.Add(ctx, l); err != nil || id != int64(5+i) {
			return fmt.Errorf("Add of %s returns %d, %v, want %d", m, id, err, 5+i)
		}
		if err := s.Proved(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

func checkSameAgain(ctx context.Context, l athens.Ledger) error {
	for i := range 3 {
		if _, err := NewSample(i, "").Add(ctx, l); err != nil {
			return err
		}
	}
	id, err := NewSample(1, "").Add(ctx, l)
	if err != nil || id != 1 {
		return fmt.Errorf("Add of what is recorded returns %d, %v, want 1", id, err)
	}
	return size(ctx, l, 3)
}

// conflicts checks that adding got, where held is recorded, is refused and changes
// nothing.
func conflicts(ctx context.Context, l athens.Ledger, held, got Sample, file athens.File) error {
	_, err := l.Add(ctx, got.Module, got.Zip, got.ModHash)
	conflict, ok := errors.AsType[*athens.ConflictError](err)
	if !ok {
		return fmt.Errorf("Add of another hash returns the error %v, want a ConflictError", err)
	}
	want := athens.ConflictError{Module: held.Module, File: file, Held: held.Zip, Got: got.Zip}
	if file == athens.ModFile {
		want.Held, want.Got = held.ModHash, got.ModHash
	}
	if *conflict != want {
		return fmt.Errorf("the conflict is %+v, want %+v", *conflict, want)
	}
	return held.Proved(ctx, l)
}

func checkConflict(ctx context.Context, l athens.Ledger) error {
	held, other := NewSample(1, ""), NewSample(1, "moved")
	if _, err := held.Add(ctx, l); err != nil {
		return err
	}
	if err := conflicts(ctx, l, held, Sample{held.Module, other.Zip, held.ModHash}, athens.ZipFile); err != nil {
		return err
	}
	if err := conflicts(ctx, l, held, Sample{held.Module, held.Zip, other.ModHash}, athens.ModFile); err != nil {
		return err
	}
	return size(ctx, l, 1)
}

func checkBad(ctx context.Context, l athens.Ledger) error {
	good := NewSample(1, "")
	for _, bad := range []Sample{
		{module.Version{Path: "", Version: "v1.0.0"}, good.Zip, good.ModHash},
		{module.Version{Path: "example.com/a b", Version: "v1.0.0"}, good.Zip, good.ModHash},
		{module.Version{Path: "example.com/a\nb", Version: "v1.0.0"}, good.Zip, good.ModHash},
		{module.Version{Path: "example.com/a", Version: "v1"}, good.Zip, good.ModHash},
		{module.Version{Path: "example.com/a", Version: "v1.0.0/go.mod"}, good.Zip, good.ModHash},
		{module.Version{Path: "example.com/a", Version: "v2.0.0"}, good.Zip, good.ModHash},
		{good.Module, "", good.ModHash},
		{good.Module, good.Zip, ""},
		{good.Module, good.Zip + "\n" + good.Zip, good.ModHash},
		{good.Module, good.Zip, "h1:" + good.ModHash},
		{good.Module, "h2:" + good.Zip[3:], good.ModHash},
	} {
		if _, err := l.Add(ctx, bad.Module, bad.Zip, bad.ModHash); err == nil {
			return fmt.Errorf("Add takes %q with %q and %q", bad.Module, bad.Zip, bad.ModHash)
		}
	}
	return size(ctx, l, 0)
}

func checkCanceled(ctx context.Context, l athens.Ledger) error {
	s := NewSample(1, "")
	if _, err := s.Add(ctx, l); err != nil {
		return err
	}
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, errAdd := NewSample(2, "").Add(done, l)
	_, errLookup := l.Lookup(done, s.Module)
	_, errRecords := l.ReadRecords(done, 0, 1)
	_, errSigned := l.Signed(done)
	errSince := l.Since(done, zeroTime, func(module.Version, time.Time) bool { return true })
	for name, err := range map[string]error{"Add": errAdd, "Lookup": errLookup, "ReadRecords": errRecords, "Signed": errSigned, "Since": errSince} {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s has the error %v, want context.Canceled", name, err)
		}
	}
	return s.Proved(ctx, l)
}

// addMany adds samples by several callers at once, each sample by two of them, and
// returns their numbers.
func addMany(ctx context.Context, l athens.Ledger, from, to int) (map[int64]int, error) {
	const callers = 64
	var (
		mu    sync.Mutex
		ids   = map[int64]int{}
		errs  []error
		group sync.WaitGroup
	)
	for caller := range callers {
		group.Go(func() {
			for i := from + caller/2; i < to; i += callers / 2 {
				id, err := NewSample(i, "").Add(ctx, l)
				mu.Lock()
				if other, twice := ids[id]; err == nil && twice && other != i {
					err = fmt.Errorf("two versions have the number %d", id)
				}
				ids[id] = i
				if err != nil {
					errs = append(errs, err)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return ids, errors.Join(errs...)
}

func checkTogether(ctx context.Context, l athens.Ledger) error {
	const versions = 60
	ids, err := addMany(ctx, l, 0, versions)
	if err != nil {
		return err
	}
	for id, i := range ids {
		if id < 0 || id >= versions || len(ids) != versions {
			return fmt.Errorf("%d versions have %d numbers, among them %d", versions, len(ids), id)
		}
		if got, err := l.Lookup(ctx, NewSample(i, "").Module); err != nil || got != id {
			return fmt.Errorf("Lookup returns %d, %v, and Add had returned %d", got, err, id)
		}
		if err := NewSample(i, "").Proved(ctx, l); err != nil {
			return err
		}
	}
	return size(ctx, l, versions)
}

func checkRace(ctx context.Context, l athens.Ledger) error {
	const rivals = 4
	for round := range 10 {
		results := make([]error, rivals)
		var group sync.WaitGroup
		for i := range rivals {
			group.Go(func() { _, results[i] = NewSample(round, fmt.Sprint(i)).Add(ctx, l) })
		}
		group.Wait()
		won := -1
		for i, err := range results {
			if err == nil && won >= 0 {
				return errors.New("two hashes of one version were both added")
			}
			if err == nil {
				won = i
			} else if _, ok := errors.AsType[*athens.ConflictError](err); !ok {
				return fmt.Errorf("the loser's error is %w, want a ConflictError", err)
			}
		}
		if won < 0 {
			return errors.New("nobody won")
		}
		if err := NewSample(round, fmt.Sprint(won)).Proved(ctx, l); err != nil {
			return err
		}
	}
	return size(ctx, l, 10)
}
