package gitwire

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// StatusError says that a server answered a request with a status that is no success.
type StatusError struct {
	Response *http.Response // its body is closed
	Posted   bool           // the request was one for references of version 2 or for a pack
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%d %s", e.Response.StatusCode, http.StatusText(e.Response.StatusCode))
}

// HTTP is a [Link] over smart HTTP. It is safe for concurrent use.
type HTTP struct {
	URL *url.URL // of the repository
	// Do sends a request. It follows redirects of GET requests only.
	Do func(*http.Request) (*http.Response, error)

	mu   sync.Mutex
	base *url.URL // where redirects led
}

// infoRefs is below a repository's URL.
const infoRefs = "/info/refs?service=git-upload-pack"

// gzipAbove is from which size on git compresses a request, in bytes.
const gzipAbove = 1024

// dumbList is how a list of references begins that "git update-server-info" made.
var dumbList = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?\trefs/`)

// Open asks for the advertisement.
func (h *HTTP) Open(ctx context.Context) (Conversation, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.URL.String()+infoRefs, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", Agent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Pragma", "no-cache")
	req.Header.Set("Git-Protocol", "version=2")
	resp, err := h.Do(req)
	if err != nil {
		return nil, err
	}
	if err := h.opened(resp); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return &exchange{ctx: ctx, h: h, hello: resp.Body, closers: []io.Closer{resp.Body}}, nil
}

// opened checks what answered, and remembers where that is.
func (h *HTTP) opened(resp *http.Response) error {
	if resp.StatusCode != http.StatusOK {
		return &StatusError{Response: resp}
	}
	base := h.URL
	if asked := h.URL.String() + infoRefs; resp.Request != nil && resp.Request.URL.String() != asked {
		at, ok := strings.CutSuffix(resp.Request.URL.String(), infoRefs)
		if !ok {
			return fmt.Errorf("%w: the request was redirected to something else", ErrNotGit)
		}
		to, err := url.Parse(at)
		if err != nil {
			return err
		}
		base = to
	}
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	if strings.TrimSpace(kind) != "application/x-git-upload-pack-advertisement" {
		begin, _ := io.ReadAll(io.LimitReader(resp.Body, 128))
		if dumbList.Match(begin) {
			return ErrDumb
		}
		return fmt.Errorf("%w: it answers with a page or another document", ErrNotGit)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.base = base
	return nil
}

// Resume begins a conversation without asking for anything.
func (h *HTTP) Resume(ctx context.Context) (Conversation, error) {
	return &exchange{ctx: ctx, h: h}, nil
}

// exchange is a conversation by requests that know nothing of each other.
type exchange struct {
	ctx     context.Context
	h       *HTTP
	hello   io.Reader
	closers []io.Closer
}

// Advertisement implements [Conversation].
func (x *exchange) Advertisement() io.Reader { return x.hello }

// Explain has nothing to add.
func (x *exchange) Explain(err error) error { return err }

// Ask implements [Conversation].
func (x *exchange) Ask(version int, request []byte) (io.Reader, error) {
	x.h.mu.Lock()
	base := x.h.base
	x.h.mu.Unlock()
	if base == nil {
		base = x.h.URL
	}
	body, encoding := request, ""
	if len(request) > gzipAbove {
		var packed bytes.Buffer
		w := gzip.NewWriter(&packed)
		_, _ = w.Write(request) // a buffer takes everything
		_ = w.Close()
		body, encoding = packed.Bytes(), "gzip"
	}
	req, err := http.NewRequestWithContext(x.ctx, http.MethodPost, base.String()+"/git-upload-pack", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", Agent)
	req.Header.Set("Content-Type", "application/x-git-upload-pack-request")
	req.Header.Set("Accept", "application/x-git-upload-pack-result")
	if encoding != "" {
		req.Header.Set("Content-Encoding", encoding)
	}
	if version > 0 {
		req.Header.Set("Git-Protocol", fmt.Sprintf("version=%d", version))
	}
	resp, err := x.h.Do(req)
	if err != nil {
		return nil, err
	}
	x.closers = append(x.closers, resp.Body)
	if resp.StatusCode != http.StatusOK {
		return nil, &StatusError{Response: resp, Posted: true}
	}
	return resp.Body, nil
}

// Close closes the answers.
func (x *exchange) Close() error {
	for _, c := range x.closers {
		c.Close()
	}
	return nil
}
