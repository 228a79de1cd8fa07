package fetcher

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/limit"
)

// A list of references is in memory while a question uses it, whether or not it is still
// among the lists that are kept, and what a question makes of it may take as much again.
// Both are bounded for all questions together: those that find no room wait for others.
// Small lists, and what is made of them, don't count.
const (
	countedList = 256 << 10        // in bytes of memory
	listWait    = 90 * time.Second // a question waits for room at most

	versionBytes = 40  // that one version of a list takes: a string and its text
	tipBytes     = 200 // that a commit takes that a server is asked for
	// More commits than that are not asked for at once.
	maxTips = 200_000
)

// listUse bounds the memory of the lists of references that questions use.
type listUse struct {
	used *limit.Weighted // the lists themselves, in bytes
	made *limit.Weighted // what is made of them, in bytes
	// Requests for all that they name, in bytes. A question may have room for what it
	// made when it waits for this, and never the other way around.
	asked *limit.Weighted
	// Large files that are in memory, each until it is collected: a .mod goes on to
	// clients and to the store.
	mods *limit.Weighted
}

// newListUse leaves room for at least one list of the largest size.
func newListUse(maxRefsBytes, cacheBytes, maxModBytes int64) listUse {
	return listUse{
		used:  limit.NewWeighted(max(maxRefsBytes, cacheBytes/2)),
		made:  limit.NewWeighted(maxRefsBytes),
		asked: limit.NewWeighted(maxTips * tipBytes),
		mods:  limit.NewWeighted(maxModBytes),
	}
}

// A listUser counts the questions that use one list, which counts once for all of them.
type listUser struct {
	lock    chan struct{} // holds one token while users changes
	users   int
	release func()
}

func newListUser() listUser { return listUser{lock: make(chan struct{}, 1)} }

// use waits until there is room for the list, and keeps it until release is called.
func (f *Fetcher) use(ctx context.Context, rs *refSet) (release func(), err error) {
	bytes := rs.bytes()
	if bytes < countedList {
		return func() {}, nil
	}
	u := &rs.user
	select {
	case u.lock <- struct{}{}:
		defer func() { <-u.lock }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if u.users == 0 {
		if u.release, err = f.room(ctx, f.listUse.used, bytes); err != nil {
			return nil, err
		}
	}
	u.users++
	return func() {
		u.lock <- struct{}{} // who has it has no need to wait, since there is a user
		defer func() { <-u.lock }()
		if u.users--; u.users == 0 {
			u.release()
		}
	}, nil
}

// room waits for room for so many bytes, if they count.
func (f *Fetcher) room(ctx context.Context, w *limit.Weighted, bytes int64) (release func(), err error) {
	if bytes < countedList {
		return func() {}, nil
	}
	release, err = w.Acquire(ctx, bytes, listWait)
	return release, noRoom(err, "other questions use the memory for large lists of references; Options.MaxRefsBytes and RefsCacheBytes set this limit")
}

// content returns room for the content of a file, of which one of the largest size may be
// in memory at a time.
func (f *Fetcher) content(ctx context.Context, size int64) ([]byte, error) {
	if size <= countedList {
		return make([]byte, size), nil
	}
	release, err := f.listUse.mods.AcquireBytes(ctx, size, listWait)
	if err != nil {
		return nil, noRoom(err, "other versions use the memory for large .mod files; Options.MaxModBytes sets this limit")
	}
	content := make([]byte, size)
	limit.ReleaseWith(content, release)
	return content, nil
}

// readMod reads a file of unknown size, up to one byte more than it may have.
func (f *Fetcher) readMod(ctx context.Context, r io.Reader) ([]byte, error) {
	r = io.LimitReader(r, f.opts.MaxModBytes+1)
	data, err := io.ReadAll(io.LimitReader(r, countedList))
	if err != nil || len(data) < countedList {
		return data, err
	}
	room, err := f.content(ctx, f.opts.MaxModBytes+1)
	if err != nil {
		return nil, err
	}
	n, err := io.ReadFull(r, room[copy(room, data):])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return room[:len(data)+n], err
}

// noRoom says of ErrBusy what is the matter.
func noRoom(err error, why string) error {
	if errors.Is(err, limit.ErrBusy) {
		return &athens.UnavailableError{Source: "this server", RetryAfter: retryAfter, Err: errors.New(why)}
	}
	return err
}

// makeRoom waits for room for what is made of n references. It is kept until the
// question ends.
func (s *codeRepo) makeRoom(ctx context.Context, n int) error {
	if versionBytes*int64(n) < countedList || s.release != nil {
		return nil // there is room for the largest list that it can make
	}
	release, err := s.repo.f.room(ctx, s.repo.f.listUse.made, versionBytes*int64(s.refs.list.len()))
	s.release = release
	return err
}

// end gives back what the question has used.
func (s *codeRepo) end() {
	if s.release != nil {
		s.release()
	}
}
