package fetcher

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/internal/budget"
	"github.com/athens-go/athens/fetcher/internal/gitpack"
)

// objects reads a bare repository as it was when it was opened, on behalf of one
// job. Between uses it is kept open, because opening takes time.
type objects struct {
	repo       *repo
	generation int
	store      *gitpack.Store
	job        *budget.Job
	lent       bool // the caller ends the job
}

const (
	maxTreeBytes   = 64 << 20 // larger trees are refused
	maxCommitBytes = 1 << 20  // so are commits with a larger header
	maxNameBytes   = 64 << 10 // and trees with longer names
	stepsPerByte   = 256      // steps of work allowed for each byte of a repository that was received
)

// open returns a reader of the bare repository's current objects. The caller must close
// it.
func (r *repo) open(ctx context.Context) (*objects, error) {
	job := r.f.work.Start(ctx)
	o, err := r.openFor(job)
	if err != nil {
		job.End()
		return nil, err
	}
	o.lent = false
	return o, nil
}

// openFor is open on behalf of a job that the caller ends.
func (r *repo) openFor(job *budget.Job) (*objects, error) {
	o, err := r.idleObjects()
	if err != nil {
		return nil, err
	}
	o.job, o.lent = job, true
	o.job.Allow(stepsPerByte * o.store.Bytes())
	o.store.Use(o.job)
	return o, nil
}

func (r *repo) idleObjects() (*objects, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if o := r.f.idle.take(r); o != nil {
		return o, nil
	}
	store, err := gitpack.Open(filepath.Join(r.dir, "objects"))
	return &objects{repo: r, generation: r.generation, store: store}, err
}

func (o *objects) close() {
	o.store.Release()
	if !o.lent {
		o.job.End()
	}
	o.job = nil
	r := o.repo
	drop := []*objects{o}
	r.mu.Lock()
	if o.generation == r.generation {
		drop = r.f.idle.put(o)
	}
	r.mu.Unlock()
	for _, o := range drop {
		o.store.Close()
	}
}

func (r *repo) closeIdle() {
	for o := r.f.idle.take(r); o != nil; o = r.f.idle.take(r) {
		o.store.Close()
	}
}

// Idle readers are bounded: those of one repository, and the
// files that all of them keep open.
const (
	maxIdle      = 2
	maxIdleFiles = 128
)

// idleReaders are the idle readers of all repositories, the longest idle one
// first.
type idleReaders struct {
	mu   sync.Mutex
	list []*objects
}

// take removes and returns a reader of r, or returns nil.
func (i *idleReaders) take(r *repo) *objects {
	i.mu.Lock()
	defer i.mu.Unlock()
	for at, o := range slices.Backward(i.list) {
		if o.repo == r {
			i.list = slices.Delete(i.list, at, at+1)
			return o
		}
	}
	return nil
}

// put adds a reader and returns those that the caller must close.
func (i *idleReaders) put(o *objects) (drop []*objects) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.list = append(i.list, o)
	same, files := 0, 0
	for at, other := range slices.Backward(i.list) {
		if other.repo == o.repo {
			same++
		}
		files += other.store.Files()
		if files > maxIdleFiles || other.repo == o.repo && same > maxIdle {
			files -= other.store.Files()
			drop = append(drop, other)
			i.list = slices.Delete(i.list, at, at+1)
		}
	}
	return drop
}

// object opens an object of the given kind.
func (o *objects) object(kind plumbing.ObjectType, hash string) (*gitpack.Object, error) {
	obj, err := o.store.Object(plumbing.NewHash(hash))
	if err == nil && obj.Kind != kind {
		obj.Close()
		err = plumbing.ErrObjectNotFound
	}
	return obj, err
}

// A commit has the parts of a git commit that this package needs.
type commit struct {
	tree    string
	parents []plumbing.Hash
	time    time.Time // when it was committed, UTC
}

func (o *objects) commit(hash string) (*commit, error) {
	obj, err := o.object(plumbing.CommitObject, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, err
	}
	if err != nil {
		return nil, damaged(err)
	}
	defer obj.Close()
	c, err := parseCommit(obj)
	if err != nil {
		return nil, objectError("commit "+hash, err)
	}
	return c, nil
}

// A malformed error means that an object's content is invalid.
type malformed string

func (e malformed) Error() string { return string(e) }

// objectError returns the error for an object that can't be used: its content is
// invalid, or it could not be read.
func objectError(what string, err error) error {
	if errors.As(err, new(malformed)) {
		return invalidf("%s: %w", what, err)
	}
	return damaged(err)
}

func parseCommit(r io.Reader) (*commit, error) {
	var c commit
	size := 0
	for lines := bufio.NewReader(io.LimitReader(r, maxCommitBytes)); ; {
		line, err := lines.ReadString('\n')
		if err != nil && err != io.EOF {
			return nil, err
		}
		size += len(line)
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			break
		}
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "tree":
			c.tree = strings.Clone(value)
		case "parent":
			c.parents = append(c.parents, plumbing.NewHash(value))
		case "committer":
			c.time, _ = signedAt(value)
		}
		if size >= maxCommitBytes {
			return nil, malformed("its header is too long")
		}
	}
	if c.time.IsZero() {
		return nil, malformed("it has no valid time")
	}
	if !plumbing.IsHash(c.tree) {
		return nil, malformed("it has no valid tree")
	}
	return &c, nil
}

// signature matches NAME <EMAIL> SECONDS ZONE as git does: anything may be between
// the first "<" and the last ">", and the zone is required.
var signature = regexp.MustCompile(`<.*>[ \t\r]*([0-9]+)[ \t\r]*[+-][0-9][^>]*$`)

// maxSeconds is the end of the year 9999; an .info can't have a later time.
const maxSeconds = 253402300799

// signedAt returns the time of a signature.
func signedAt(text string) (t time.Time, ok bool) {
	m := signature.FindStringSubmatch(text)
	if m == nil {
		return t, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > maxSeconds {
		return t, false
	}
	return time.Unix(n, 0).UTC(), true
}

// file returns a file of a tree as it is stored; for a symbolic link that is
// its target. If there is no such file, the error is errNoFile.
func (o *objects) file(ctx context.Context, tree, name string, limit int64) ([]byte, error) {
	e, err := o.findFile(tree, name)
	if err != nil {
		return nil, err
	}
	rd, size, err := o.blob(e.hash)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	if size > limit {
		return nil, invalidf("%s has %d bytes, more than the limit of %d; Options.MaxModBytes sets it", name, size, limit)
	}
	content, err := o.repo.f.content(ctx, size)
	if err == nil {
		_, err = io.ReadFull(rd, content)
	}
	return content, err
}

// findFile is find for anything but folders.
func (o *objects) findFile(tree, name string) (entry, error) {
	e, err := o.find(tree, name)
	if err == nil && (e.isTree() || e.isSubmodule()) {
		return entry{}, errNoFile
	}
	return e, err
}

// blob opens a file's content, given its hash, and returns its size.
func (o *objects) blob(hash string) (rd io.ReadCloser, size int64, err error) {
	obj, err := o.object(plumbing.BlobObject, hash)
	if err != nil {
		return nil, 0, damaged(err)
	}
	return obj, obj.Size, nil
}

// errDamaged means that the bare repository lacks files of a commit, or that they
// can't be read. It is then fetched again.
var errDamaged = errors.New("the bare repository is damaged")

func damaged(err error) error {
	switch err = fromBudget(err); {
	case errors.As(err, new(invalid)), errors.As(err, new(*athens.UnavailableError)),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// errShallow means that a walk came to a commit that the bare repository lacks, so that
// not all ancestors are known.
var errShallow = errors.New("the bare repository lacks a part of the history")

// walk calls visit for a commit and all its ancestors, until that returns
// false. The error is errCut if a commit is not here; what could be visited
// was.
func (o *objects) walk(start string, visit func(hash string) bool) error {
	first := plumbing.NewHash(start)
	seen := map[plumbing.Hash]struct{}{first: {}}
	todo := []plumbing.Hash{first}
	cut := false
	for len(todo) > 0 {
		hash := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		c, err := o.commit(hash.String())
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			cut = true
			continue
		}
		if err != nil {
			return err
		}
		if !visit(hash.String()) {
			return nil
		}
		for _, p := range c.parents {
			if _, ok := seen[p]; ok {
				continue
			}
			if err := o.job.Grow(seenBytes); err != nil {
				return damaged(err)
			}
			seen[p] = struct{}{}
			todo = append(todo, p)
		}
	}
	if cut {
		return errShallow
	}
	return nil
}

// seenBytes is the memory that a walk needs for each commit.
const seenBytes = 96

// blobSize returns the size of a file.
func (o *objects) blobSize(hash string) (int64, error) {
	size, err := o.store.Size(plumbing.NewHash(hash))
	if err != nil {
		return 0, damaged(err)
	}
	return size, nil
}
