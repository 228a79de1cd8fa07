package fetcher

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/athens-go/athens/fetcher/internal/gitpack"
	"github.com/athens-go/athens/fetcher/internal/gitwire"
	"github.com/athens-go/athens/internal/durable"
)

// A fetchRequest is what one fetch requests from a server.
type fetchRequest struct {
	wants    []string // objects that references name
	haves    []string // commits that need not be sent again
	shallows []string // commits that we have without history
	depth    int      // of the history to send; zero is all of it
	last     []string // commits to install last: each shows that its tree is complete
}

// thin reports whether the server may send deltas to objects that we have. For a
// shallow fetch, it would otherwise send everything again.
func (o *fetchRequest) thin() bool { return o.depth > 0 && len(o.haves) > 0 }

// init creates the bare repository if necessary. It completes one that a crash left
// half created.
func (r *repo) init() error {
	if _, err := os.Stat(filepath.Join(r.dir, "objects", "pack")); err == nil {
		return nil
	}
	storage := filesystem.NewStorage(osfs.New(r.dir), cache.NewObjectLRU(0))
	if _, err := git.Init(storage, nil); err != nil && !errors.Is(err, git.ErrRepositoryAlreadyExists) {
		return fmt.Errorf("make a bare repository: %w", err)
	}
	return os.MkdirAll(filepath.Join(r.dir, "objects", "pack"), 0o777)
}

// receive executes a request into a folder of its own and then moves the objects
// into the bare repository, so that a failed fetch leaves nothing behind.
func (r *repo) receive(ctx context.Context, rs *refSet, o *fetchRequest) (int64, error) {
	release, err := r.f.limiter.acquire(ctx, r.host())
	if err != nil {
		return 0, err
	}
	defer release()
	pack, err := r.request(ctx, rs, o)
	if err != nil {
		return 0, err
	}
	defer pack.Close()

	incoming, remove, err := r.newIncoming()
	if err != nil {
		return 0, err
	}
	counted := &incomingFetch{in: r.f.incoming, own: r.f.opts.MaxFetchBytes}
	defer counted.end()
	defer remove()
	n, err := r.unpack(ctx, incoming, pack, o.thin(), counted)
	if err == nil {
		err = r.checkReceived(ctx, incoming, o.wants)
	}
	if err != nil || n <= emptyPackBytes {
		return n, err
	}
	return n, r.migrate(incoming, o.last)
}

// unpack stores a pack as it arrives and indexes it. A thin pack is unpacked into
// single objects instead, because they can be deltas to objects of the bare
// repository.
func (r *repo) unpack(ctx context.Context, incoming string, pack io.Reader, thin bool, counted *incomingFetch) (n int64, err error) {
	defer recoverPanic(&err)
	folder := filepath.Join(incoming, "objects", "pack")
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return 0, err
	}
	tmp, n, err := spool(folder, counted.counted(readerWith(ctx, pack)))
	if err != nil || n <= emptyPackBytes {
		return n, err
	}
	defer tmp.Close()
	job := r.f.work.Start(ctx)
	defer job.End()
	job.Allow(stepsPerByte * n)
	var bases gitpack.Bases
	if thin {
		held, err := r.openFor(job)
		if err != nil {
			return n, err
		}
		defer held.close()
		bases = held.store
	}
	limits := gitpack.DefaultLimits()
	limits.Disk = counted.takeExtra
	done, err := gitpack.Unpack(job, tmp, n, filepath.Dir(folder), bases, limits)
	switch {
	case errors.Is(err, gitpack.ErrBase):
		return n, damaged(err)
	case err != nil:
		return n, fromBudget(err)
	case thin:
		return n, os.Remove(tmp.Name())
	}
	name := filepath.Join(folder, fmt.Sprintf("pack-%x", done.Sum()))
	if err := done.WriteIndex(name + ".idx"); err != nil {
		return n, err
	}
	return n, os.Rename(tmp.Name(), name+".pack")
}

// spool writes a pack into a new file and rewinds it. If it fails, or the pack is
// empty, it closes the file.
func spool(folder string, pack io.Reader) (*os.File, int64, error) {
	tmp, err := os.CreateTemp(folder, "pack-")
	if err != nil {
		return nil, 0, err
	}
	n, err := io.Copy(tmp, pack)
	if err == nil {
		_, err = tmp.Seek(0, io.SeekStart)
	}
	if err != nil || n <= emptyPackBytes {
		tmp.Close()
	}
	return tmp, n, err
}

// recoverPanic turns a panic, which hostile data can cause, into an error.
func recoverPanic(err *error) {
	if v := recover(); v != nil {
		*err = invalidf("the repository sent malformed data: %v", v)
	}
}

const (
	incomingPrefix = "incoming-"
	emptyPackBytes = 12 + 20 // header and checksum, no objects
)

// request sends a request and returns the pack as it arrives.
func (r *repo) request(ctx context.Context, rs *refSet, o *fetchRequest) (*gitwire.Pack, error) {
	pack, err := rs.server.Fetch(ctx, &gitwire.Request{
		Wants: ids(o.wants), Haves: ids(o.haves), Shallows: ids(o.shallows), Depth: o.depth, Thin: o.thin(),
	})
	if err != nil {
		return nil, r.wireError(err)
	}
	if pack.Cut {
		pack.Close()
		return nil, r.shallowError()
	}
	inner := pack.Reader
	pack.Reader = readFunc(func(b []byte) (int, error) {
		n, err := inner.Read(b)
		if err != nil && err != io.EOF {
			err = asUnavailable(r.name, r.wireError(err))
		}
		return n, err
	})
	return pack, nil
}

// checkReceived makes sure that the requested objects are in the pack or were in the
// bare repository before.
func (r *repo) checkReceived(ctx context.Context, incoming string, wants []string) error {
	store, err := gitpack.Open(filepath.Join(incoming, "objects"))
	if err != nil {
		return err
	}
	defer store.Close()
	for _, want := range wants {
		ok, err := store.Has(plumbing.NewHash(want))
		if err == nil && !ok {
			ok, err = r.has(ctx, want)
		}
		if !ok || err != nil {
			return errors.Join(fmt.Errorf("the server did not send %s", want), err)
		}
	}
	return nil
}

// migrate moves objects from the incoming folder to the bare repository, in an order
// that is safe for readers: commits that show that all is there come last, and a pack
// comes after its index.
func (r *repo) migrate(incoming string, last []string) error {
	var names []string
	for _, pattern := range []string{"??/*", "pack/*.idx", "pack/*.pack"} {
		list, err := filepath.Glob(filepath.Join(incoming, "objects", pattern))
		if err != nil {
			return err
		}
		names = append(names, list...)
	}
	isLast := func(name string) int {
		dir, file := filepath.Split(name)
		return boolInt(slices.Contains(last, filepath.Base(dir)+file))
	}
	slices.SortStableFunc(names, func(a, b string) int { return isLast(a) - isLast(b) })
	for _, name := range names {
		rel, err := filepath.Rel(incoming, name)
		if err != nil {
			return err
		}
		if strings.Contains(rel, "pack") {
			err = durable.SyncFile(disk{}, name)
		} else {
			err = os.MkdirAll(filepath.Join(r.dir, filepath.Dir(rel)), 0o777)
		}
		if err == nil {
			err = os.Rename(name, filepath.Join(r.dir, rel))
		}
		if err != nil {
			return err
		}
	}
	r.mu.Lock()
	r.generation++
	r.mu.Unlock()
	r.closeIdle()
	return nil
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func ids(list []string) []gitwire.ID {
	out := make([]gitwire.ID, len(list))
	for i, text := range list {
		out[i], _ = gitwire.ParseID(text) // they are from a list of references
	}
	return out
}
