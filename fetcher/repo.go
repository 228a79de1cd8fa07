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

// A repo is one remote repository, with the local bare repository that holds what was
// fetched of it so far.
//
// Objects arrive in whole packs and are never removed one by one. A commit in the bare
// repository has its whole tree, but it may lack parents, since a tag is
// fetched without history where possible.
type repo struct {
	f      *Fetcher
	url    string // as discovered
	name   string // url without credentials
	key    string // cache key: policy and url
	dir    string // of the bare repository
	policy networkPolicy

	fetching chan struct{} // holds a value while a fetch adds to the bare repository

	mu         sync.Mutex
	users      int // number of requests that use it
	lastUsed   time.Time
	generation int               // number of packs added by this process
	wanted     map[string]string // commits that the next fetch should include, and their tips
}

// acquireRepo returns the repo of a URL and policy; there is one for each. Its bare
// repository is not removed until the caller calls release.
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
		// The file's time records the last use. There is no file before the
		// first fetch.
		_ = os.Chtimes(filepath.Join(r.dir, stateFile), now, now)
		r.lastUsed = now
	}
	return r
}

// touchEvery is the precision of the recorded last use of a repository.
const touchEvery = 10 * time.Minute

func (r *repo) release() { r.addUsers(-1) }

// addUsers counts users. While there are any, the bare repository is not removed.
func (r *repo) addUsers(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.users += n
}

// closeUnused closes the repo's files if it has no users, and reports whether that is
// so. The caller holds the fetcher's mu, so that nobody acquires it meanwhile.
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

// dropRepos forgets all repos. The caller holds f.mu. Running requests keep the repo
// that they have.
func (f *Fetcher) dropRepos() {
	for _, r := range f.repos {
		r.closeIdle()
	}
	clear(f.repos)
}

// A repoState says which commits a bare repository has. It is stored in a file beside
// the objects.
type repoState struct {
	// Complete are targets of references that were fetched with all their history.
	Complete []string
	// Shallow are commits that were fetched without history.
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
		return nil, fmt.Errorf("read the state of %s's bare repository: %w", r.name, err)
	}
	return &h, nil
}

// writeState writes h atomically: a crash leaves the old state or the new one.
func (r *repo) writeState(h *repoState) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return durable.Replace(disk{}, r.dir, stateFile, filepath.Join(r.dir, stateFile), data)
}

// ensureCommit makes sure that the bare repository has a commit with its tree. tip is
// the object that the reference names: the commit, or a tag of it.
func (r *repo) ensureCommit(ctx context.Context, rs *refSet, commit, tip string) error {
	if ok, err := r.has(ctx, commit); ok || err != nil {
		return err
	}
	caller := ctx
	_, err := r.f.fetches.Do(ctx, r.key+" "+commit, func(ctx context.Context) (struct{}, error) {
		ctx = keepNoCache(ctx, caller)
		r.addWanted(commit, tip)
		shared, err := r.fetchCommits(ctx, rs, commit, tip, true)
		if err != nil && shared && ctx.Err() == nil {
			// The failure may be due to another request's commit.
			_, err = r.fetchCommits(ctx, rs, commit, tip, false)
		}
		return struct{}{}, err
	})
	return err
}

// maxWanted bounds how many commits one fetch requests.
const maxWanted = 100

// addWanted records that a commit is wanted, so that the next fetch includes it:
// clients often request many versions of a repository at the same time.
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

// fetchCommits fetches a commit and, if together is true, those that other requests
// wait for. shared reports whether there were any.
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

// restoreWanted records commits as wanted again that are not fetched after all.
func (r *repo) restoreWanted(tips map[string]string, but string) {
	for commit, tip := range tips {
		if commit != but {
			r.addWanted(commit, tip)
		}
	}
}

// requestTips makes the request for commits and the tips that lead to them. If the bare
// repository has complete histories, these come with history too, which costs little
// and keeps it complete.
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

// checkComplete returns an error if the server's repository is shallow itself. What git
// fetches from such a server depends on what it already has.
func (r *repo) checkComplete(rs *refSet) error {
	if rs.isShallow {
		return r.shallowError()
	}
	return nil
}

func (r *repo) shallowError() error {
	return invalidf("%s is a shallow repository, which lacks history: %w", r.name, errors.ErrUnsupported)
}

// ensureRevision fetches a revision again if the bare repository has been removed
// meanwhile.
func (r *repo) ensureRevision(ctx context.Context, rev *revision) error {
	if ok, err := r.has(ctx, rev.commit); ok || err != nil {
		return err
	}
	rs, err := r.refs(ctx, 0)
	if err != nil {
		return err
	}
	release, err := r.f.use(ctx, rs)
	if err != nil {
		return err
	}
	defer release()
	if rev.tip != "" {
		return r.ensureCommit(ctx, rs, rev.commit, rev.tip)
	}
	return r.ensureHistory(ctx, rs, false)
}

// maxHaves bounds how many commits a request offers as haves; more would make the
// request longer and the answer hardly shorter.
const maxHaves = 256

func newest(list []string, n int) []string { return list[max(0, len(list)-n):] }

// fetch adds what plan requests to the bare repository, one fetch at a time, and
// records it. plan returns nil if nothing is missing any more.
func (r *repo) fetch(ctx context.Context, rs *refSet, plan func(*repoState) (*fetchRequest, error), done func(*repoState, *fetchRequest)) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.f.opts.FetchTimeout, slowError{r.f.opts.FetchTimeout, "FetchTimeout"})
	defer cancel()
	select {
	case r.fetching <- struct{}{}:
		defer func() { <-r.fetching }()
	case <-ctx.Done():
		return unavailable(r.name, context.Cause(ctx))
	}
	r.addUsers(1) // a fetch outlives the request that started it
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
	if err := r.cachedPackFailure(ctx, o); err != nil {
		return err
	}
	start := time.Now()
	bytes, err := r.receive(ctx, rs, o)
	if err != nil && len(o.haves) > 0 && ctx.Err() == nil && !errors.As(err, new(invalid)) && !errors.As(err, new(*budget.BusyError)) && !refusesAll(err) {
		// Some servers mishandle haves; request everything.
		bare := &fetchRequest{wants: o.wants, depth: o.depth, last: o.last}
		bytes, err = r.receive(ctx, rs, bare)
	}
	r.f.opts.Logger.InfoContext(ctx, "git fetch", "url", r.name, "wants", len(o.wants), "depth", o.depth,
		"bytes", bytes, "ms", time.Since(start).Milliseconds(), "error", err)
	if err != nil {
		r.f.discard(r.dir)
		err = unavailable(r.name, cause(err))
		r.cachePackFailure(o, err)
		return err
	}
	done(h, o)
	if err := r.writeState(h); err != nil {
		return err
	}
	// Measuring all repositories is slow, so don't do it after each small fetch.
	if r.f.received.Add(bytes) > r.f.opts.MaxCacheBytes/100 {
		r.f.received.Store(0)
		r.f.trim(r)
	}
	return nil
}

// has reports whether the bare repository has an object.
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
