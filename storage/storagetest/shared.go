package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/athens-go/athens"
)

// sharedCases are about many users at once, and about opening again.
var sharedCases = []Case{
	{"reopen", "what was stored is there when the store is opened again, and stays immutable", checkReopen},
	{"put-together", "whoever sees the .info or the .mod of a version sees the other too", twice(checkPutTogether)},
	{"put-race", "of concurrent Puts of different content exactly one wins, whole; the others are conflicts", twice(checkPutRace)},
	{"put-many", "concurrent Puts of different versions of a module are all held", twice(checkPutMany)},
	{"commit-together", "a zip is seen whole or not at all", twice(checkCommitTogether)},
	{"commit-same-race", "concurrent Commits of the same zip all succeed", twice(checkCommitSameRace)},
	{"commit-race", "of concurrent Commits of different zips exactly one wins, whole; the others are conflicts", twice(checkCommitRace)},
}

func checkReopen(ctx context.Context, open Open) error {
	s, other := ordinary(), NewSample("example.com/other", "v0.1.0", "")
	err := alone(func(ctx context.Context, st athens.Storage) error {
		if err := s.Store(ctx, st); err != nil {
			return err
		}
		return other.Put(ctx, st)
	})(ctx, open)
	if err != nil {
		return err
	}
	return alone(func(ctx context.Context, st athens.Storage) error {
		if err := s.Whole(ctx, st); err != nil {
			return err
		}
		if err := versions(ctx, st, s.Module.Path, s.Module.Version); err != nil {
			return err
		}
		changed := NewSample(s.Module.Path, s.Module.Version, "b")
		if err := conflict(st.Put(ctx, s.Module, s.Info, changed.Mod), s.Module, athens.ModFile); err != nil {
			return fmt.Errorf("Put of another .mod: %w", err)
		}
		if err := conflict(changed.Commit(ctx, st), s.Module, athens.ZipFile); err != nil {
			return fmt.Errorf("Commit of another zip: %w", err)
		}
		if err := other.Held(ctx, st); err != nil {
			return err
		}
		return other.Store(ctx, st)
	})(ctx, open)
}

// checkPutTogether looks at versions while they are being put.
func checkPutTogether(ctx context.Context, a, b athens.Storage) error {
	const rounds = 40
	samples := make([]Sample, rounds)
	for i := range samples {
		samples[i] = NewSample("example.com/mod", fmt.Sprintf("v1.0.%d", i), "")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watchers := make(chan error, 2)
	for _, order := range [][2]athens.File{{athens.InfoFile, athens.ModFile}, {athens.ModFile, athens.InfoFile}} {
		go func() { watchers <- watch(ctx, b, samples, order) }()
	}
	var err error
	for _, s := range samples {
		if err = s.Put(ctx, a); err != nil {
			break
		}
	}
	if err != nil {
		return err // the watchers end with ctx
	}
	return errors.Join(<-watchers, <-watchers)
}

// watch waits for the first file of each sample, and then wants the second.
func watch(ctx context.Context, st athens.Storage, samples []Sample, order [2]athens.File) error {
	for _, s := range samples {
		for {
			_, err := read(ctx, st, s.Module, order[0])
			if err == nil {
				break
			}
			if !errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil {
				return err
			}
		}
		if _, err := read(ctx, st, s.Module, order[1]); err != nil {
			return fmt.Errorf("the .%s of %s is there, the .%s is not: %w", order[0], s.Module, order[1], err)
		}
	}
	return nil
}

// race runs one attempt a sample, half of them on each store, all at once.
func race(samples []Sample, a, b athens.Storage, attempt func(Sample, athens.Storage) error) []error {
	errs := make([]error, len(samples))
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i, s := range samples {
		st := a
		if i%2 == 1 {
			st = b
		}
		wg.Go(func() {
			<-start
			errs[i] = attempt(s, st)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// winner wants exactly one of the attempts to have succeeded, and conflicts of
// these files otherwise.
func winner(samples []Sample, errs []error, files ...athens.File) (Sample, error) {
	won := -1
	for i, err := range errs {
		if err == nil {
			if won >= 0 {
				return Sample{}, errors.New("two different contents were stored as one version")
			}
			won = i
			continue
		}
		var last error
		for _, f := range files {
			if last = conflict(err, samples[i].Module, f); last == nil {
				break
			}
		}
		if last != nil {
			return Sample{}, last
		}
	}
	if won < 0 {
		return Sample{}, errors.New("none of the attempts succeeded")
	}
	return samples[won], nil
}

const racers = 8

// rivals are different contents that claim one version.
func rivals(version string) []Sample {
	samples := make([]Sample, racers)
	for i := range samples {
		samples[i] = NewSample("example.com/mod", version, fmt.Sprintf("rival %d", i))
	}
	return samples
}

func checkPutRace(ctx context.Context, a, b athens.Storage) error {
	for round := range 5 {
		samples := rivals(fmt.Sprintf("v1.0.%d", round))
		errs := race(samples, a, b, func(s Sample, st athens.Storage) error {
			return st.Put(ctx, s.Module, s.Info, s.Mod)
		})
		won, err := winner(samples, errs, athens.ModFile, athens.InfoFile)
		if err != nil {
			return err
		}
		for _, st := range []athens.Storage{a, b} {
			if err := won.Held(ctx, st); err != nil {
				return fmt.Errorf("after the race: %w", err)
			}
		}
	}
	return nil
}

func checkPutMany(ctx context.Context, a, b athens.Storage) error {
	const path = "example.com/mod"
	samples := make([]Sample, 4*racers)
	want := make([]string, len(samples))
	for i := range samples {
		want[i] = fmt.Sprintf("v1.0.%d", i)
		samples[i] = NewSample(path, want[i], want[i])
	}
	errs := race(samples, a, b, func(s Sample, st athens.Storage) error { return s.Store(ctx, st) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	for _, st := range []athens.Storage{a, b} {
		if err := versions(ctx, st, path, want...); err != nil {
			return err
		}
		for _, s := range samples {
			if err := s.Whole(ctx, st); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkCommitTogether(ctx context.Context, a, b athens.Storage) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watcher := make(chan error, 1)
	samples := make([]Sample, 40)
	for i := range samples {
		samples[i] = NewSample("example.com/mod", fmt.Sprintf("v1.0.%d", i), "")
		if err := samples[i].Put(ctx, a); err != nil {
			return err
		}
	}
	go func() {
		for _, s := range samples {
			err := s.Whole(ctx, b)
			for errors.Is(err, fs.ErrNotExist) && ctx.Err() == nil {
				err = s.Whole(ctx, b)
			}
			if err != nil {
				watcher <- err
				return
			}
		}
		watcher <- nil
	}()
	for _, s := range samples {
		if err := s.Commit(ctx, a); err != nil {
			return err // the watcher ends with ctx
		}
	}
	return <-watcher
}

func checkCommitSameRace(ctx context.Context, a, b athens.Storage) error {
	s := ordinary()
	if err := s.Put(ctx, a); err != nil {
		return err
	}
	samples := make([]Sample, racers)
	for i := range samples {
		samples[i] = s
	}
	errs := race(samples, a, b, func(s Sample, st athens.Storage) error { return s.Commit(ctx, st) })
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := s.Whole(ctx, a); err != nil {
		return err
	}
	return s.Whole(ctx, b)
}

func checkCommitRace(ctx context.Context, a, b athens.Storage) error {
	for round := range 5 {
		samples := rivals(fmt.Sprintf("v1.0.%d", round))
		first := samples[0]
		if err := first.Put(ctx, a); err != nil {
			return err
		}
		errs := race(samples, a, b, func(s Sample, st athens.Storage) error { return s.Commit(ctx, st) })
		won, err := winner(samples, errs, athens.ZipFile)
		if err != nil {
			return err
		}
		won.Info, won.Mod = first.Info, first.Mod
		for _, st := range []athens.Storage{a, b} {
			if err := won.Whole(ctx, st); err != nil {
				return fmt.Errorf("after the race: %w", err)
			}
		}
	}
	return nil
}
