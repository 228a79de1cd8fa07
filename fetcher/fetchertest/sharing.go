package fetchertest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// A question is one way to ask a Fetcher something.
type question struct {
	name  string
	ask   func(context.Context, athens.Fetcher) error
	small bool // its answer can be the same value for all who ask
}

// questions asks for everything that the harness describes; the error says how
// an answer is wrong.
func (h Harness) questions() []question {
	var list []question
	for _, m := range h.Modules {
		list = append(list, question{"Versions(" + m.Path + ")", func(ctx context.Context, f athens.Fetcher) error {
			got, err := f.Versions(ctx, m.Path)
			if err == nil && len(got) != len(m.Versions) {
				err = fmt.Errorf("Versions(%s) = %q", m.Path, got)
			}
			return err
		}, true})
		for query := range m.Queries {
			list = append(list, question{fmt.Sprintf("Resolve(%s, %q)", m.Path, query), func(ctx context.Context, f athens.Fetcher) error {
				return resolves(ctx, f, m, query)
			}, true})
		}
		for _, want := range m.Contents {
			v := module.Version{Path: m.Path, Version: want.Version}
			list = append(list, question{"Fetch(" + v.String() + ")", func(ctx context.Context, f athens.Fetcher) error {
				c, err := f.Fetch(ctx, v)
				if err != nil {
					return err
				}
				return errors.Join(checkInfo(ctx, c, want), checkMod(ctx, c, want), checkZip(ctx, c, v, want))
			}, false})
		}
	}
	return list
}

// soon calls ask and returns its error, or says that it did not return in time.
func (h Harness) soon(what string, ask func() error) (err, late error) {
	done := make(chan error, 1)
	go func() { done <- ask() }()
	select {
	case err := <-done:
		return err, nil
	case <-time.After(h.patience()):
		return nil, fmt.Errorf("%s: no answer within %s", what, h.patience())
	}
}

func checkCancelled(h Harness) error {
	cause := errors.New("given up")
	f, err := h.New()
	if err != nil {
		return err
	}
	for _, q := range h.questions() {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		err, late := h.soon(q.name, func() error { return q.ask(ctx, f) })
		if late != nil {
			return fmt.Errorf("with a context that is done: %w", late)
		}
		var missing *athens.MissingError
		if errors.As(err, &missing) || err != nil && athens.Final(err) {
			return fmt.Errorf("%s with a context that is done: a final error: %w", q.name, err)
		}
	}
	return h.zipCancelled()
}

// zipCancelled gives a context up while a zip is written. A zip that is written
// at once may be complete then.
func (h Harness) zipCancelled() error {
	return h.eachContent(func(_ context.Context, c athens.Content, _ module.Version, _ Content) error {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		_, late := h.soon("Zip, whose context was given up while it wrote", func() error { return c.Zip(ctx, cancelWriter(cancel)) })
		return late
	})
}

// cancelWriter gives a context up at each write, and takes all there is.
type cancelWriter context.CancelFunc

func (w cancelWriter) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

func checkLeaver(h Harness) error {
	for _, q := range h.questions() {
		f, err := h.New()
		if err != nil {
			return err
		}
		leaving, leave := context.WithCancel(context.Background())
		staying, cancel := context.WithTimeout(context.Background(), h.patience())
		var both sync.WaitGroup
		var stayed error
		both.Go(func() { _ = q.ask(leaving, f) })
		both.Go(func() { stayed = q.ask(staying, f) })
		runtime.Gosched()
		leave()
		_, late := h.soon(q.name, func() error { both.Wait(); return nil })
		cancel()
		if late != nil {
			return late
		}
		if stayed != nil {
			return fmt.Errorf("%s, while another asked it and left: %w", q.name, stayed)
		}
	}
	return nil
}

func checkConcurrent(h Harness) error {
	return h.ask(h.New, func(ctx context.Context, f athens.Fetcher) error {
		questions := h.questions()
		errs := make([]error, 4*len(questions))
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				q := questions[i%len(questions)]
				if err := q.ask(ctx, f); err != nil {
					errs[i] = fmt.Errorf("%s among others: %w", q.name, err)
				}
			})
		}
		all.Wait()
		return errors.Join(errs...)
	})
}

// sharers is how many ask the same at once.
const sharers = 20

func checkShared(h Harness) error {
	if h.Hold == nil || h.Asked == nil {
		return nil
	}
	for _, q := range h.questions() {
		if !q.small {
			continue
		}
		before := h.Asked()
		if err := h.ask(h.New, q.ask); err != nil {
			return fmt.Errorf("%s: %w", q.name, err)
		}
		one := h.Asked() - before
		if one == 0 {
			continue
		}
		many, err := h.costOfMany(q)
		if err != nil {
			return err
		}
		// Who comes after the first answer may ask anew, so a few more are
		// no breach; half of what all of them alone would cost is one.
		if many >= one*sharers/2 {
			return fmt.Errorf("%s: once costs %d requests, %d times at once %d", q.name, one, sharers, many)
		}
	}
	return nil
}

// costOfMany counts what a question costs that many ask at once.
func (h Harness) costOfMany(q question) (int, error) {
	f, err := h.New()
	if err != nil {
		return 0, err
	}
	before := h.Asked()
	release := h.Hold()
	ctx, cancel := context.WithTimeout(context.Background(), h.patience())
	defer cancel()
	var asking, done sync.WaitGroup
	errs := make([]error, sharers)
	for i := range errs {
		asking.Add(1)
		done.Go(func() {
			asking.Done()
			errs[i] = q.ask(ctx, f)
		})
	}
	asking.Wait()
	for h.Asked() == before && ctx.Err() == nil {
		runtime.Gosched()
	}
	for range 1000 * sharers { // the others are on their way; none can be seen to wait
		runtime.Gosched()
	}
	release()
	done.Wait()
	return h.Asked() - before, errors.Join(errs...)
}
