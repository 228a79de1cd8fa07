package fetcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/objfile"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// objects reads a bare repository as it was when it was opened. go-git's
// storage is not safe for concurrent use, so each has one user at a time;
// between users it waits in its repo, because its index takes time to load.
type objects struct {
	repo       *repo
	generation int
	storage    *filesystem.Storage
}

const (
	readCacheBytes = 8 << 20  // of small objects, such as the bases of deltas
	streamAbove    = 1 << 20  // larger blobs are not read into memory, in bytes
	maxTreeBytes   = 64 << 20 // larger trees and commits are refused
	maxIdle        = 2        // readers waiting for the next user, a repository
)

// open returns a reader of all that is there now. The caller closes it.
func (r *repo) open() (*objects, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.idle); n > 0 {
		o := r.idle[n-1]
		r.idle = r.idle[:n-1]
		return o, nil
	}
	return &objects{
		repo: r, generation: r.generation,
		storage: filesystem.NewStorageWithOptions(osfs.New(r.dir), cache.NewObjectLRU(readCacheBytes),
			filesystem.Options{LargeObjectThreshold: streamAbove, KeepDescriptors: true}),
	}, nil
}

func (o *objects) close() {
	r := o.repo
	r.mu.Lock()
	keep := o.generation == r.generation && len(r.idle) < maxIdle
	if keep {
		r.idle = append(r.idle, o)
	}
	r.mu.Unlock()
	if !keep {
		o.storage.Close()
	}
}

func (r *repo) closeIdle() {
	r.mu.Lock()
	idle := r.idle
	r.idle = nil
	r.mu.Unlock()
	for _, o := range idle {
		o.storage.Close()
	}
}

// read returns the whole content of a small object of the given type.
func (o *objects) read(t plumbing.ObjectType, hash string) (data []byte, err error) {
	defer guard(&err)
	obj, err := o.storage.EncodedObject(t, plumbing.NewHash(hash))
	if err != nil {
		return nil, err
	}
	if obj.Size() > maxTreeBytes {
		return nil, brokenf("the %s %s has %d bytes", t, hash, obj.Size())
	}
	rd, err := obj.Reader()
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	return io.ReadAll(rd)
}

// A commit is what is needed of one.
type commit struct {
	tree    string
	parents []string
	time    time.Time // when it was committed, UTC
}

func (o *objects) commit(hash string) (*commit, error) {
	data, err := o.read(plumbing.CommitObject, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, err
	}
	if err != nil {
		return nil, damaged(err)
	}
	c, err := parseCommit(data)
	if err != nil {
		return nil, brokenf("commit %s: %w", hash, err)
	}
	return c, nil
}

func parseCommit(data []byte) (*commit, error) {
	var c commit
	for line := range bytes.Lines(data) {
		line := strings.TrimSuffix(string(line), "\n")
		if line == "" {
			break
		}
		key, value, _ := strings.Cut(line, " ")
		switch key {
		case "tree":
			c.tree = value
		case "parent":
			c.parents = append(c.parents, value)
		case "committer":
			c.time, _ = signedAt(value)
		}
	}
	if c.time.IsZero() {
		return nil, errors.New("its time can't be read")
	}
	if !plumbing.IsHash(c.tree) {
		return nil, errors.New("it has no tree")
	}
	return &c, nil
}

// signature is how git reads NAME <EMAIL> SECONDS ZONE: with anything between
// the first "<" and the last ">", and nothing without a zone.
var signature = regexp.MustCompile(`<.*>[ \t\r]*([0-9]+)[ \t\r]*[+-][0-9][^>]*$`)

// maxSeconds ends the year 9999; no .info can hold a later one.
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

// An entry is one name in a folder.
type entry struct {
	name string
	mode filemode.FileMode
	hash string
}

func (o *objects) tree(hash string) ([]entry, error) {
	data, err := o.read(plumbing.TreeObject, hash)
	if err != nil {
		return nil, damaged(err)
	}
	entries, err := parseTree(data)
	if err != nil {
		return nil, brokenf("tree %s: %w", hash, err)
	}
	return entries, nil
}

func parseTree(data []byte) ([]entry, error) {
	var entries []entry
	for len(data) > 0 {
		head, rest, ok := bytes.Cut(data, []byte{0})
		mode, name, ok2 := strings.Cut(string(head), " ")
		if !ok || !ok2 || len(rest) < 20 || name == "" || strings.Contains(name, "/") {
			return nil, errors.New("malformed entry")
		}
		n, err := strconv.ParseUint(mode, 8, 32)
		if err != nil {
			return nil, fmt.Errorf("malformed mode %q", mode)
		}
		entries = append(entries, entry{name, filemode.FileMode(n), plumbing.Hash(rest[:20]).String()})
		data = rest[20:]
	}
	return entries, nil
}

func (e entry) isTree() bool      { return e.mode&0o170000 == 0o040000 }
func (e entry) isSymlink() bool   { return e.mode&0o170000 == 0o120000 }
func (e entry) isSubmodule() bool { return e.mode&0o170000 == 0o160000 }

// gitLink is what git takes for .gitmodules on some file system.
var gitLink = regexp.MustCompile(`^(\.gitmodules|gitmod~[1-4]|gi7eba~[0-9])$`)

// isForbidden reports whether git refuses an entry, and so the whole commit,
// because on some file system it would be git's own or lead out of the folder.
func (e entry) isForbidden() bool {
	stem, _, _ := strings.Cut(strings.ToLower(e.name), ":")
	stem = strings.TrimRight(stem, " .")
	return e.name == "." || e.name == ".." || stem == ".git" || stem == "git~1" || e.isSymlink() && gitLink.MatchString(stem)
}

// find returns the entry of a file or folder, given by its path from a tree.
func (o *objects) find(tree, name string) (entry, error) {
	at := entry{mode: 0o040000, hash: tree}
	if name == "" || name == "." {
		return at, nil
	}
	if path.Clean(name) != name {
		return entry{}, errNoFile
	}
	for part := range strings.SplitSeq(name, "/") {
		if !at.isTree() {
			return entry{}, errNoFile
		}
		entries, err := o.tree(at.hash)
		if err != nil {
			return entry{}, err
		}
		found := false
		for _, e := range entries {
			if e.name == part {
				at, found = e, true
				break
			}
		}
		if !found {
			return entry{}, errNoFile
		}
	}
	return at, nil
}

// file returns a file of a tree as it is stored; of a symbolic link that is
// its target. If there is none, or it is not a file, the error is errNoFile.
func (o *objects) file(tree, name string, limit int64) ([]byte, error) {
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
		return nil, brokenf("%s has %d bytes", name, size)
	}
	return io.ReadAll(rd)
}

// findFile is find for what is no folder.
func (o *objects) findFile(tree, name string) (entry, error) {
	e, err := o.find(tree, name)
	if err == nil && (e.isTree() || e.isSubmodule()) {
		return entry{}, errNoFile
	}
	return e, err
}

// blob opens a file's content, given its hash, and says how long it is.
func (o *objects) blob(hash string) (rd io.ReadCloser, size int64, err error) {
	defer guard(&err)
	obj, err := o.storage.EncodedObject(plumbing.BlobObject, plumbing.NewHash(hash))
	if err != nil {
		return nil, 0, damaged(err)
	}
	if rd, err = obj.Reader(); err != nil {
		return nil, 0, damaged(err)
	}
	return rd, obj.Size(), nil
}

// errDamaged says that a commit is here but not all of its files, or that they
// can't be read. The bare repository is then fetched anew.
var errDamaged = errors.New("the bare repository is damaged")

func damaged(err error) error {
	if errors.As(err, new(broken)) {
		return err
	}
	return fmt.Errorf("%w: %w", errDamaged, err)
}

// errCut says that a walk came to a commit whose parents are not here, so that
// it can't be known what lies behind.
var errCut = errors.New("the history here is cut")

// walk calls visit for a commit and all its ancestors, until that returns
// false. The error is errCut if a commit is not here; what could be visited
// was.
func (o *objects) walk(ctx context.Context, start string, visit func(hash string) bool) error {
	seen := map[string]bool{start: true}
	todo := []string{start}
	cut := false
	for len(todo) > 0 {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		hash := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		c, err := o.commit(hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			cut = true
			continue
		}
		if err != nil {
			return err
		}
		if !visit(hash) {
			return nil
		}
		for _, p := range c.parents {
			if !seen[p] {
				seen[p] = true
				todo = append(todo, p)
			}
		}
	}
	if cut {
		return errCut
	}
	return nil
}

// blobSize says how long a file is. go-git's own way leaves the file of a loose
// object open until it is collected: thousands of them, for a large module.
func (o *objects) blobSize(hash string) (size int64, err error) {
	defer guard(&err)
	size, err = o.looseSize(hash)
	if errors.Is(err, fs.ErrNotExist) {
		size, err = o.storage.EncodedObjectSize(plumbing.NewHash(hash))
	}
	if err != nil {
		return 0, damaged(err)
	}
	return size, nil
}

// looseSize is blobSize for what has a file of its own.
func (o *objects) looseSize(hash string) (int64, error) {
	f, err := os.Open(filepath.Join(o.repo.dir, "objects", hash[:2], hash[2:]))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	r, err := objfile.NewReader(f)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	_, size, err := r.Header()
	return size, err
}
