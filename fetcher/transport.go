package fetcher

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
)

// readerWith returns r, which fails as soon as ctx is done.
func readerWith(ctx context.Context, r io.Reader) io.Reader {
	return readFunc(func(p []byte) (int, error) {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		return r.Read(p)
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// A limitedTransport bounds the bodies of git's answers: a list of references
// is asked by GET, a pack by POST.
type limitedTransport struct {
	base        http.RoundTripper
	refs, packs int64
}

func (t *limitedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	left := t.refs
	if req.Method == http.MethodPost {
		left = t.packs
	}
	if resp.StatusCode != http.StatusOK {
		left = 64 << 10
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{bounded(req.Context(), resp.Body, left, shown(req.URL)), resp.Body}
	return resp, nil
}

// bounded returns r, which is an error where it is longer than most bytes, or has
// too much before a pack.
func bounded(ctx context.Context, r io.Reader, most int64, source string) io.Reader {
	seen, _ := ctx.Value(sniffKey{}).(*sniff)
	talk, _ := ctx.Value(talkKey{}).(*talk)
	return readFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if most -= int64(n); most < 0 || !talk.add(n) {
			return 0, brokenf("the answer of %s is too large", source)
		}
		seen.add(p[:n])
		return n, err
	})
}

// A talk is what a server says before a pack. All of that is kept in memory, so it
// is bounded by itself.
type talk struct {
	size int64
	over atomic.Bool
}

type talkKey struct{}

// withoutTalk is for a list of references that comes before a pack.
func withoutTalk(ctx context.Context) context.Context {
	return context.WithValue(ctx, talkKey{}, (*talk)(nil))
}

// maxTalk is in bytes. A server names the commits whose history it leaves out, of
// those that were asked for.
const maxTalk = 16 << 20

// add counts what was read, and reports whether it is not too much.
func (t *talk) add(n int) bool {
	if t == nil || t.over.Load() {
		return true
	}
	t.size += int64(n)
	return t.size <= maxTalk
}

// A sniff keeps the beginning of an answer, to explain why go-git could not
// understand it.
type sniff struct{ head strings.Builder }

type sniffKey struct{}

func (s *sniff) add(p []byte) {
	if s != nil && s.head.Len() < 4096 {
		s.head.Write(p[:min(len(p), 4096)])
	}
}

func (s *sniff) matches(re *regexp.Regexp) bool { return re.MatchString(s.head.String()) }

func (s *sniff) contains(text string) bool { return strings.Contains(s.head.String(), text) }
