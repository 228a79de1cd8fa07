package fetcher

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/athens-go/athens/fetcher/internal/budget"
	"github.com/athens-go/athens/internal/durable"
)

// A repo is one repository: what is known of its references, and the bare
// repository beside it that holds what was fetched so far.
//
// Objects arrive as whole packs and are never removed one by one. A commit
// that is there has its whole tree; it may lack parents, since a tag is
// fetched without history where that is enough.
type repo struct {
	f      *Fetcher
	url    string // as discovered
	name   string // the same without credentials
	key    string // url and reach: what is remembered holds for both
	dir    string // of the bare repository
	policy networkPolicy

	fetching chan struct{} // held by whoever adds to the bare repository

	mu         sync.Mutex
	users      int // questions being answered from it
	lastUsed   time.Time
	generation int               // counts the packs added by this process
	wanted     map[string]string // commits that a fetch is to bring along, and their tips
}

// acquireRepo returns the repo of a URL; there is one each. Until the caller says
// done, its bare repository is not removed.
func (f *Fetcher) acquireRepo(rawURL string, to networkPolicy) *repo {
	key := to.String() + rawURL
	f.mu.Lock()
	defer f.mu.Unlock()
	r, ok := f.repos[key]
	if !ok {
		r = f.newRepo(rawURL, to)
		if len(f.repos) >= maxRepos {
			f.dropRepos()
		}
		f.repos[key] = r
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users++
	if now := time.Now(); now.Sub(r.lastUsed) > touchEvery {
		// The file's time says when the repository was last used; it is not
		// there before the first fetch.
		_ = os.Chtimes(filepath.Join(r.dir, stateFile), now, now)
		r.lastUsed = now
	}
	return r
}

// touchEvery is how exactly it is known when a repository was last used.
const touchEvery = 10 * time.Minute

func (r *repo) release() { r.addUsers(-1) }

// addUsers counts users. Until there is none, the bare repository is not removed.
func (r *repo) addUsers(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users += n
}

// closeUnused closes what is open if nobody uses the repo, and says so. The
// fetcher's mu is held, so that nobody borrows it meanwhile.
func (r *repo) closeUnused() bool {
	r.mu.Lock()
	used := r.users > 0
	r.mu.Unlock()
	if !used {
		r.closeIdle()
	}
	return !used
}

func (f *Fetcher) newRepo(rawURL string, to networkPolicy) *repo {
	sum := sha256.Sum256([]byte("git:" + rawURL))
	return &repo{
		f: f, url: rawURL, name: redacted(rawURL), key: to.String() + rawURL, policy: to,
		dir:      filepath.Join(f.dir, hex.EncodeToString(sum[:16])),
		fetching: make(chan struct{}, 1),
	}
}

// maxRepos bounds how many repositories are kept in memory.
const maxRepos = 4096

// dropRepos drops what is remembered of all repositories; f.mu is held. Work
// under way keeps its own repo.
func (f *Fetcher) dropRepos() {
	for _, r := range f.repos {
		r.closeIdle()
	}
	clear(f.repos)
}

// A repoState is what a bare repository has, kept in a file beside its objects.
type repoState struct {
	// Complete are references' targets that are there with all their history.
	Complete []string
	// Shallow are commits that are there without history.
	Shallow []string
}

const stateFile = "athens.json"

func (r *repo) readState() (*repoState, error) {
	var h repoState
	data, err := os.ReadFile(filepath.Join(r.dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return &h, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	if err != nil {
		return nil, fmt.Errorf("read what is held of %s: %w", r.name, err)
	}
	return &h, nil
}

// writeState writes h, so that a crash leaves the old one or the new one.
func (r *repo) writeState(h *repoState) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	tmp, name, err := durable.Create(disk{}, r.dir, stateFile)
	if err != nil {
		return err
	}
	return durable.Write(disk{}, tmp, name, filepath.Join(r.dir, stateFile), data)
}

// ensureCommit makes sure that a commit is there with its tree. tip is the object that
// the reference names: the commit, or a tag of it.
func (r *repo) ensureCommit(ctx context.Context, rs *refSet, commit, tip string) error {
	if ok, err := r.has(ctx, commit); ok || err != nil {
		return err
	}
	_, err := r.f.fetches.Do(ctx, r.key+" "+commit, func(ctx context.Context) (struct{}, error) {
		r.addWanted(commit, tip)
		shared, err := r.fetchCommits(ctx, rs, commit, tip, true)
		if err != nil && shared && ctx.Err() == nil {
			// It may be another's commit that can't be had.
			_, err = r.fetchCommits(ctx, rs, commit, tip, false)
		}
		return struct{}{}, err
	})
	return err
}

// maxWanted bounds how many commits are asked for at once.
const maxWanted = 100

// addWanted says that a commit is wanted, so that whoever fetches next brings it
// along: clients ask for many versions of a repository at the same time.
func (r *repo) addWanted(commit, tip string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.wanted) < maxWanted {
		if r.wanted == nil {
			r.wanted = make(map[string]string)
		}
		r.wanted[commit] = tip
	}
}

// fetchCommits fetches a commit, and if together says so, those that others
// wait for. shared says that there were some.
func (r *repo) fetchCommits(ctx context.Context, rs *refSet, commit, tip string, together bool) (shared bool, err error) {
	tips := map[string]string{commit: tip}
	err = r.fetch(ctx, rs, func(h *repoState) (*fetchRequest, error) {
		r.mu.Lock()
		delete(r.wanted, commit)
		if together {
			maps.Copy(tips, r.wanted)
			r.wanted = nil
		}
		r.mu.Unlock()
		for c := range tips {
			ok, err := r.has(ctx, c)
			if err != nil || ok && c == commit {
				r.restoreWanted(tips, commit)
				return nil, err
			}
			if ok {
				delete(tips, c)
			}
		}
		shared = len(tips) > 1
		return r.requestTips(rs, h, tips), nil
	}, func(h *repoState, o *fetchRequest) {
		for c, tip := range tips {
			if o.depth == 0 {
				h.Complete = append(h.Complete, tip)
			} else {
				h.Shallow = append(h.Shallow, c)
			}
		}
	})
	return shared, err
}

// restoreWanted puts back what was taken along and is not fetched now.
func (r *repo) restoreWanted(tips map[string]string, but string) {
	for commit, tip := range tips {
		if commit != but {
			r.addWanted(commit, tip)
		}
	}
}

// requestTips asks for references, by the commits meant. Where the whole history
// of others is held, theirs is completed too, which costs little and keeps it
// whole.
func (r *repo) requestTips(rs *refSet, h *repoState, tips map[string]string) *fetchRequest {
	o := &fetchRequest{depth: 1, last: slices.Sorted(maps.Keys(tips))}
	for _, commit := range o.last {
		if tip := tips[commit]; !slices.Contains(o.wants, tip) {
			o.wants = append(o.wants, tip)
		}
	}
	if len(h.Complete) > 0 || !rs.canShallow {
		o.depth = 0
		o.haves = newest(h.Complete, maxHaves)
		return o
	}
	o.haves = newest(h.Shallow, maxHaves)
	o.shallows = h.Shallow
	return o
}

// checkComplete is an error if the server has no whole history. What git fetches from such
// a one depends on what it has already.
func (r *repo) checkComplete(rs *refSet) error {
	if rs.isShallow {
		return r.shallowError()
	}
	return nil
}

func (r *repo) shallowError() error {
	return invalidf("%s is a shallow repository, which lacks history: %w", r.name, errors.ErrUnsupported)
}

// ensureHistory makes sure that all branches and tags are there with all their
// history, and HEAD too if that is wanted: it can be a commit of no branch.
func (r *repo) ensureHistory(ctx context.Context, rs *refSet, head bool) error {
	if err := r.checkComplete(rs); err != nil {
		return err
	}
	_, err := r.f.fetches.Do(ctx, fmt.Sprint(r.key, " history ", head), func(ctx context.Context) (struct{}, error) {
		return struct{}{}, r.fetch(ctx, rs, func(h *repoState) (*fetchRequest, error) {
			known := make(map[string]bool) // some repositories have 50,000 tags
			for _, tip := range h.Complete {
				known[tip] = true
			}
			var wants []string
			for ref := range rs.all() {
				if (ref.name != headName || head) && !known[ref.tip] {
					known[ref.tip] = true
					wants = append(wants, ref.tip)
				}
			}
			if len(wants) == 0 {
				return nil, nil
			}
			// What is held without history is not offered: the server
			// would leave out its ancestors.
			return &fetchRequest{wants: wants, haves: newest(h.Complete, maxHaves)}, nil
		}, func(h *repoState, o *fetchRequest) {
			h.Complete = append(h.Complete, o.wants...)
		})
	})
	return err
}

// ensureRevision makes sure that a revision that was here is here again, should the
// bare repository have been removed meanwhile.
func (r *repo) ensureRevision(ctx context.Context, rs *refSet, rev *revision) error {
	if rev.tip != "" {
		return r.ensureCommit(ctx, rs, rev.commit, rev.tip)
	}
	if ok, err := r.has(ctx, rev.commit); ok || err != nil {
		return err
	}
	return r.ensureHistory(ctx, rs, false)
}

// maxHaves bounds what is offered to a server as known; more would make the
// request long and the answer hardly shorter.
const maxHaves = 256

func newest(list []string, n int) []string { return list[max(0, len(list)-n):] }

// fetch adds what plan orders to the bare repository, one fetch at a time, and
// records it. A plan that is nil says that everything is there by now.
func (r *repo) fetch(ctx context.Context, rs *refSet, plan func(*repoState) (*fetchRequest, error), done func(*repoState, *fetchRequest)) error {
	ctx, cancel := context.WithTimeout(ctx, r.f.opts.FetchTimeout)
	defer cancel()
	select {
	case r.fetching <- struct{}{}:
		defer func() { <-r.fetching }()
	case <-ctx.Done():
		return unavailable(r.name, context.Cause(ctx))
	}
	r.addUsers(1) // a fetch outlives the question that began it
	defer r.addUsers(-1)
	if err := r.init(); err != nil {
		return err
	}
	h, err := r.readState()
	if err != nil {
		return err
	}
	o, err := plan(h)
	if o == nil || err != nil {
		return err
	}
	start := time.Now()
	bytes, err := r.receive(ctx, rs, o)
	if err != nil && len(o.haves) > 0 && ctx.Err() == nil && !errors.As(err, new(invalid)) && !errors.As(err, new(*budget.BusyError)) {
		// Some servers mishandle what is held; ask for the whole.
		bare := &fetchRequest{wants: o.wants, depth: o.depth, last: o.last}
		bytes, err = r.receive(ctx, rs, bare)
	}
	r.f.opts.Logger.InfoContext(ctx, "git fetch", "url", r.name, "wants", len(o.wants), "depth", o.depth,
		"bytes", bytes, "ms", time.Since(start).Milliseconds(), "error", err)
	if err != nil {
		r.f.discard(r.dir)
		return unavailable(r.name, cause(err))
	}
	done(h, o)
	if err := r.writeState(h); err != nil {
		return err
	}
	// Measuring all repositories takes a while, so not after each small fetch.
	if r.f.received.Add(bytes) > r.f.opts.MaxCacheBytes/100 {
		r.f.received.Store(0)
		r.f.trim(r)
	}
	return nil
}

// has reports whether an object is there.
func (r *repo) has(ctx context.Context, hash string) (bool, error) {
	o, err := r.open(ctx)
	if err != nil {
		return false, err
	}
	defer o.close()
	ok, err := o.store.Has(plumbing.NewHash(hash))
	if err != nil {
		return false, damaged(err)
	}
	return ok, nil
}
