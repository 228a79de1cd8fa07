package fetcher

import (
	"context"
	"io"
	"net/http"
	"regexp"
	"strings"
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
	seen, _ := req.Context().Value(sniffKey{}).(*sniff)
	resp.Body = struct {
		io.Reader
		io.Closer
	}{bounded(resp.Body, left, shown(req.URL), seen), resp.Body}
	return resp, nil
}

// bounded returns r, which is an error where it is longer than most bytes.
func bounded(r io.Reader, most int64, source string, seen *sniff) io.Reader {
	return readFunc(func(p []byte) (int, error) {
		n, err := r.Read(p)
		if most -= int64(n); most < 0 {
			return 0, brokenf("the answer of %s is too large", source)
		}
		seen.add(p[:n])
		return n, err
	})
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
