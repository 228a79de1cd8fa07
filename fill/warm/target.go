package warm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/captured"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/internal/retryafter"
)

// maxAnswer bounds an answer in memory, in bytes.
const maxAnswer = 32 << 20

// Handler returns the handler of this process as a target, with the storage that it was made
// with. If the handler has an Upstream, its Options.MissFetch must be set; with a negative
// Options.Prefetch it fetches only what is needed.
func Handler(h *athens.Handler, storage athens.Storage) Target { return &handler{h, storage} }

type handler struct {
	*athens.Handler
	storage athens.Storage
}

func (h *handler) Fill(ctx context.Context, f athens.Fill) (Filled, error) {
	var filled Filled
	err := h.look(ctx, f, &filled)
	if err == nil {
		filled.Held = true
		return filled, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return filled, err
	}
	if err := h.Handler.Fill(ctx, f); err != nil {
		return filled, err
	}
	return filled, h.look(ctx, f, &filled)
}

// zipHasher is a storage that knows the h1 of a zip without reading it.
type zipHasher interface {
	ZipHash(ctx context.Context, m module.Version) (string, error)
}

// look looks at what is held.
func (h *handler) look(ctx context.Context, f athens.Fill, filled *Filled) error {
	files := []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile}
	if !f.Zip {
		files = files[:2]
	}
	filled.Bytes = 0
	for _, file := range files {
		o, err := h.storage.Open(ctx, f.Module, file)
		if err != nil {
			return err
		}
		filled.Bytes += o.Size
		hasher, ok := h.storage.(zipHasher)
		if file == athens.ZipFile && !ok {
			filled.ZipHash, err = modcheck.ZipAlone(modcheck.ReaderAt(o.Body), o.Size, f.Module, 1<<62)
		} else if file == athens.ZipFile {
			filled.ZipHash, err = hasher.ZipHash(ctx, f.Module)
		}
		if err := errors.Join(err, o.Body.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (h *handler) Get(ctx context.Context, path string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "/"+path, nil)
	if err != nil {
		return nil, err
	}
	a, err := serve(h.Handler, r)
	switch {
	case err != nil:
		return nil, err
	case a.Truncated:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return a.Body, answerError(path, a.Status, a.Header, a.Body)
}

// serve calls a handler, which may cut the answer off.
func serve(h http.Handler, r *http.Request) (a *captured.Answer, err error) {
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler { //nolint:errorlint // as net/http does
				panic(p)
			}
			err = errors.New("the answer was cut off: it did not pass a check")
		}
	}()
	return captured.Serve(h, r, maxAnswer), nil
}

// ServerOptions configures [Server]. A nil *ServerOptions is the zero ServerOptions.
type ServerOptions struct {
	// Client makes the requests. Nil means one whose requests take at most 10 minutes.
	Client *http.Client
	// Token is sent to the server, and only there. Empty means that none is.
	Token string
}

// Server returns a server that runs as a target. It is asked for each file as a client asks, and
// fills its own store. A server that redirects clients fills what was asked for later, and
// [Summary.Scheduled] counts that.
func Server(base string, opts *ServerOptions) (Target, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("warm: %q is not the URL of a server, such as https://go.corp.example", base)
	}
	s := &server{base: u, client: &http.Client{Timeout: 10 * time.Minute}}
	if opts != nil {
		if opts.Client != nil {
			own := *opts.Client
			s.client = &own
		}
		s.token = opts.Token
	}
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s, nil
}

type server struct {
	base   *url.URL
	client *http.Client
	token  string
}

func (s *server) Fill(ctx context.Context, f athens.Fill) (Filled, error) {
	var filled Filled
	exts := []string{"info", "mod", "zip"}
	if !f.Zip {
		exts = exts[:2]
	}
	for _, ext := range exts {
		path, err := protocol.FilePath(f.Module, ext)
		if err != nil {
			return filled, err
		}
		resp, err := s.ask(ctx, path)
		if err != nil {
			return filled, err
		}
		if resp.StatusCode/100 == 3 {
			filled.Scheduled = true
			if err := resp.Body.Close(); err != nil {
				return filled, err
			}
			continue
		}
		var n int64
		if resp.StatusCode == http.StatusOK {
			n, err = io.Copy(io.Discard, resp.Body)
		} else {
			err = s.refusal(path, resp)
		}
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return filled, err
		}
		filled.Bytes += n
	}
	return filled, nil
}

// ask sends a request.
func (s *server) ask(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base.JoinPath(path).String(), nil)
	if err != nil {
		return nil, err
	}
	if s.token != "" {
		r.Header.Set("Authorization", "Bearer "+s.token)
	}
	return s.client.Do(r)
}

func (s *server) refusal(path string, resp *http.Response) error {
	body, err := limit.ReadAll(resp.Body, maxAnswer)
	if err != nil {
		return err
	}
	return answerError(path, resp.StatusCode, resp.Header, body)
}

// Get follows a redirect, without the token.
func (s *server) Get(ctx context.Context, path string) ([]byte, error) {
	resp, err := s.ask(ctx, path)
	if err != nil {
		return nil, err
	}
	if to, lerr := resp.Location(); lerr == nil && resp.StatusCode/100 == 3 {
		if err := resp.Body.Close(); err != nil {
			return nil, err
		}
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), nil)
		if err != nil {
			return nil, err
		}
		if resp, err = s.client.Do(r); err != nil {
			return nil, err
		}
	}
	defer resp.Body.Close()
	body, err := limit.ReadAll(resp.Body, maxAnswer)
	if err != nil {
		return nil, err
	}
	return body, answerError(path, resp.StatusCode, resp.Header, body)
}

// answerError is the error that an answer means, nil if it is 200.
func answerError(path string, status int, header http.Header, body []byte) error {
	text := strings.TrimSpace(string(body[:min(len(body), 1000)]))
	err := fmt.Errorf("%d %s: %s", status, http.StatusText(status), text)
	switch status {
	case http.StatusOK:
		return nil
	case http.StatusNotFound, http.StatusGone:
		return &athens.MissingError{Path: path, Err: err}
	case http.StatusForbidden:
		return &athens.BlockedError{Path: path, Reason: text}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return &athens.UnavailableError{RetryAfter: retryafter.Parse(header, time.Hour), Err: err}
	}
	return err
}
