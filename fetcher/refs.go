package fetcher

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
	"github.com/athens-go/athens/internal/oneline"
)

// A refSet is one listing of a repository's references: HEAD, branches and
// tags. It is immutable, so one request is answered from one state.
type refSet struct {
	fetchedAt  time.Time
	list       *refList
	head       string // the commit of HEAD; the go command takes the object named for "HEAD"
	server     *gitwire.Server
	canShallow bool // the server supports shallow fetches
	isShallow  bool // the server's repository is shallow itself
	user       listUser
}

// bytes returns the memory that the set takes.
func (rs *refSet) bytes() int64 { return 1<<10 + rs.list.bytes() }

// refs returns the references. It lists them if the cached ones are older than
// maxAge; zero means Options.RefsTTL.
func (r *repo) refs(ctx context.Context, maxAge time.Duration) (*refSet, error) {
	if maxAge == 0 {
		maxAge = r.f.opts.RefsTTL
	}
	if known, ok := r.f.lists.Get(r.key); ok && time.Since(known.fetchedAt) <= maxAge {
		return known, nil
	}
	if err := cachedFailure(ctx, r.f.failures, r.key); err != nil {
		return nil, err
	}
	caller := ctx
	return r.f.listings.Do(ctx, r.key, func(ctx context.Context) (*refSet, error) {
		rs, err := r.askRefs(keepNoCache(ctx, caller))
		if err != nil {
			if errors.As(err, new(notFound)) || errors.As(err, new(invalid)) {
				r.f.failures.put(r.key, struct{}{}, err, r.f.opts.MissTTL)
			}
			if ctx.Err() == nil {
				r.f.cacheFailure(r.key, err)
			}
			return nil, err
		}
		r.f.lists.Put(r.key, rs)
		return rs, nil
	})
}

// wantedRefs are the references that the go command uses.
var wantedRefs = []string{headName, headsPrefix, tagsPrefix}

const (
	headName    = "HEAD"
	headsPrefix = "refs/heads/"
	tagsPrefix  = "refs/tags/"
)

// A list is filtered as it arrives. Large lists are read one at a time, to bound the
// memory of all together.
const (
	largeList  = countedList // in bytes of memory
	listFactor = 16          // times Options.MaxRefsBytes may arrive in all
)

// askRefs lists the server's references.
func (r *repo) askRefs(ctx context.Context) (*refSet, error) {
	ctx, cancel := r.f.withPageTimeout(ctx, r.f.opts.PageTimeout)
	defer cancel()
	release, err := r.f.limiter.acquire(ctx, r.host())
	if err != nil {
		return nil, unavailable(r.name, err)
	}
	defer release()
	client, err := r.client(ctx)
	if err != nil {
		return nil, err
	}
	rs := &refSet{fetchedAt: time.Now(), user: newListUser()}
	b := &listBuilder{f: r.f, ctx: ctx, rs: rs}
	defer b.done()
	if rs.server, err = client.List(ctx, wantedRefs, b.add); err != nil {
		return nil, r.wireError(err)
	}
	rs.list = b.list.sort()
	rs.canShallow, rs.isShallow = rs.server.Deepens, rs.server.Cut
	return rs, nil
}

// A listBuilder collects references.
type listBuilder struct {
	f     *Fetcher
	ctx   context.Context
	rs    *refSet
	list  refList
	size  int64
	large bool // holds the semaphore for large lists
}

func (b *listBuilder) add(r gitwire.Ref) error {
	name, ok := refName(string(r.Name))
	if !ok || name != headName && !strings.HasPrefix(name, headsPrefix) && !strings.HasPrefix(name, tagsPrefix) {
		return nil
	}
	if name == headName {
		b.rs.head = r.Peeled.String()
		r.Peeled = r.Target
	}
	b.size += int64(len(name)) + refBytes
	if r.Peeled != r.Target {
		b.size += tagBytes
	}
	if b.size > b.f.opts.MaxRefsBytes {
		return &gitwire.TooLarge{What: "the list of branches and tags"}
	}
	if b.size > largeList && !b.large {
		if err := b.f.largeLists.Acquire(b.ctx); err != nil {
			return queueError{err}
		}
		b.large = true
	}
	b.list.add([]byte(name), r.Peeled, r.Target)
	return nil
}

func (b *listBuilder) done() {
	if b.large {
		b.f.largeLists.Release()
	}
}

// refName returns a name in a list of references as the go command reads it: as one
// word between white space, of which git allows what is not ASCII.
func refName(name string) (string, bool) {
	words := strings.Fields(name)
	if len(words) != 1 || strings.ContainsFunc(name, isControl) {
		return "", false
	}
	return words[0], true
}

// wireError returns the error for a failed request to a repository.
func (r *repo) wireError(err error) error {
	var (
		status *gitwire.StatusError
		large  *gitwire.TooLarge
		words  *gitwire.RemoteError
	)
	switch {
	case errors.As(err, new(notFound)), errors.As(err, new(invalid)):
		return err
	case errors.As(err, &status):
		a := responseOf(status.Response.Request.URL, status.Response)
		a.crossHost = !sameSite(a.host, hostOf(r.url))
		if status.Posted {
			return asUnavailable(r.name, statusError(a))
		}
		return statusError(a)
	case errors.Is(err, gitwire.ErrSHA256):
		return invalidf("%s is a SHA-256 repository: %w", r.name, errors.ErrUnsupported)
	case errors.Is(err, gitwire.ErrDumb):
		return invalidf("%s is served by git's dumb http protocol: %w", r.name, errors.ErrUnsupported)
	case errors.As(err, &large):
		return invalidf("%s sent too much: %w; Options.MaxRefsBytes and Options.MaxFetchBytes set the limits", r.name, err)
	case errors.As(err, &words):
		return sourceUnavailable(r.name, serverMessage{printable(words.Words)})
	}
	if err = cause(err); len(err.Error()) > maxServerText {
		err = truncatedError{err} // it may quote the server
	}
	return sourceUnavailable(r.name, err)
}

// truncatedError is an error whose text is cut to maxServerText.
type truncatedError struct{ err error }

func (e truncatedError) Error() string { return printable(e.err.Error()) }
func (e truncatedError) Unwrap() error { return e.err }

// A serverMessage is a server's refusal in its own words. Even "no such repository" is
// not definite, since servers say so too if a key lacks permission. The go
// command does not take it for a definite answer either.
type serverMessage struct{ words string }

func (e serverMessage) Error() string { return "the server says: " + e.words }

// printable returns the beginning of a server's text, in one line.
func printable(text string) string { return oneline.Of(text, maxServerText) }

// maxServerText bounds how much of a server's text is shown, in bytes.
const maxServerText = 300
