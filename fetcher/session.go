package fetcher

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
	"github.com/athens-go/athens/internal/gitconfig"
)

// client returns a client of the repository's server. It reads git's configuration
// and netrc again.
func (r *repo) client(ctx context.Context) (*gitwire.Client, error) {
	cfg, err := r.f.gitConfig(ctx)
	if err != nil {
		return nil, unavailable(r.name, fmt.Errorf("git's configuration: %w", err))
	}
	to, err := r.remote(cfg)
	if err != nil {
		return nil, err
	}
	c := &gitwire.Client{Limits: gitwire.Limits{
		ListBytes: listFactor * r.f.opts.MaxRefsBytes, PackBytes: r.f.opts.MaxFetchBytes,
		FirstByte: firstByte, Idle: r.f.opts.IdleTimeout,
	}}
	switch to.scheme {
	case "ssh":
		c.Link = gitwire.Streams{Dial: func(ctx context.Context) (gitwire.Stream, error) { return r.dialSSH(ctx, to) }}
	case "git":
		c.Link = gitwire.Streams{Dial: func(ctx context.Context) (gitwire.Stream, error) { return r.dialGit(ctx, to) }}
	default:
		s := &httpSession{repo: r, url: to.url, cfg: cfg}
		if err := s.login(ctx); err != nil {
			return nil, err
		}
		bare := *to.url
		bare.User = nil
		c.Link = &gitwire.HTTP{URL: &bare, Do: s.do}
	}
	return c, nil
}

func (f *Fetcher) gitConfig(ctx context.Context) (*gitconfig.Config, error) {
	warn := f.warn(ctx, "git's configuration can't be read; continuing without it")
	switch f.opts.GitConfig {
	case none:
		return &gitconfig.Config{}, nil
	case "":
		return gitconfig.Load(os.Getenv, warn)
	}
	return gitconfig.LoadFile(f.opts.GitConfig, warn)
}

// An httpSession sends requests to a repository. If the server rejects the login and
// a new one is available, it retries once.
type httpSession struct {
	repo *repo
	url  *url.URL
	cfg  *gitconfig.Config

	mu       sync.Mutex
	sent     http.Header
	withheld bool // a login is known, but is not sent without TLS
}

// login looks up the current login.
func (s *httpSession) login(ctx context.Context) error {
	header, withheld, err := s.repo.f.gitHeaders(ctx, s.cfg, s.url, s.repo.policy)
	if err != nil {
		return unavailable(s.repo.name, fmt.Errorf("credentials: %w", err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sent, s.withheld = header, withheld
	return nil
}

func (s *httpSession) current() http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sent
}

func (s *httpSession) withheldLogin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.withheld
}

// do sends a request, with the login if it goes to the repository's own host.
func (s *httpSession) do(req *http.Request) (*http.Response, error) {
	req = req.WithContext(withWithheld(s.withProxy(req.Context()), s.withheldLogin()))
	client := s.repo.f.clients[s.repo.policy].git
	own := req.URL.Host == s.url.Host && req.URL.Scheme == s.url.Scheme
	send := func(login http.Header) (*http.Response, error) {
		again := req.Clone(req.Context())
		if req.GetBody != nil {
			var err error
			if again.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
		if own {
			logins(login).SetAuth(again)
		}
		return client.Do(again)
	}
	old := s.current()
	resp, err := send(old)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !own {
		return resp, err
	}
	if s.login(withRefused(req.Context())) != nil || sameHeader(old, s.current()) {
		return resp, nil
	}
	resp.Body.Close()
	return send(s.current())
}

// gitHeaders returns the headers for git's requests to u: the login, and
// those that git's configuration adds. If both set one, the Credentials option
// takes precedence over the configuration, and the configuration over netrc.
func (f *Fetcher) gitHeaders(ctx context.Context, cfg *gitconfig.Config, u *url.URL, to networkPolicy) (header http.Header, withheld bool, err error) {
	login, err := f.credentials(ctx, u, to)
	if err != nil || u.Scheme != "https" && !to.insecure {
		return nil, login.withheld || len(cfg.HTTP(u, "extraHeader")) > 0, err
	}
	header = make(http.Header)
	for _, line := range cfg.HTTP(u, "extraHeader") {
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if ok && value != "" && isToken(name) && !strings.ContainsFunc(value, isControl) {
			header.Add(name, value)
		}
	}
	for name, values := range login.header {
		if _, ok := header[name]; !ok || login.fromOption {
			header[name] = values
		}
	}
	return header, false, nil
}

// isToken reports whether a string can be the name of a header.
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
