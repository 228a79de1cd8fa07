package fetcher

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/athens-go/athens/internal/gitconfig"
)

// session opens a session with the repository's server. What git's
// configuration says is read anew, as netrc is.
func (r *repo) session(ctx context.Context) (transport.UploadPackSession, error) {
	cfg, err := r.f.gitConfig()
	if err != nil {
		return nil, down(r.name, fmt.Errorf("git's configuration: %w", err))
	}
	to, err := r.remote(cfg)
	if err != nil {
		return nil, err
	}
	switch to.scheme {
	case "ssh":
		return &streamSession{r, func(ctx context.Context) (stream, error) { return r.dialSSH(ctx, to) }}, nil
	case "git":
		return &streamSession{r, func(ctx context.Context) (stream, error) { return r.dialGit(ctx, to) }}, nil
	}
	s := &httpSession{repo: r, url: to.url, cfg: cfg}
	return s, s.login(ctx)
}

func (f *Fetcher) gitConfig() (*gitconfig.Config, error) {
	switch f.opts.GitConfig {
	case none:
		return &gitconfig.Config{}, nil
	case "":
		return gitconfig.Load(os.Getenv)
	}
	return gitconfig.LoadFile(f.opts.GitConfig)
}

// An httpSession is a session of go-git's that logs in again, once, when the
// server says that the login is not good any more and there is a new one.
type httpSession struct {
	repo *repo
	url  *url.URL
	cfg  *gitconfig.Config

	mu    sync.Mutex
	inner transport.UploadPackSession
	sent  http.Header
}

// login begins a session anew, with the login of now.
func (s *httpSession) login(ctx context.Context) error {
	header, err := s.repo.f.gitHeaders(ctx, s.cfg, s.url, s.repo.reach)
	if err != nil {
		return down(s.repo.name, fmt.Errorf("credentials: %w", err))
	}
	bare := *s.url
	bare.User = nil
	ep, err := transport.NewEndpoint(bare.String())
	if err != nil {
		return absentf("the repository's URL %s is not valid", s.repo.name)
	}
	inner, err := s.repo.f.routes[s.repo.reach].git.NewUploadPackSession(ep, logins(header))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inner, s.sent = inner, header
	return nil
}

func (s *httpSession) current() (transport.UploadPackSession, http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inner, s.sent
}

// again reports whether there is a new login after an error, and uses it.
func (s *httpSession) again(ctx context.Context, err error, sent http.Header) bool {
	if !errors.Is(err, transport.ErrAuthenticationRequired) {
		return false
	}
	if s.login(withRefused(ctx)) != nil {
		return false
	}
	_, now := s.current()
	return !sameHeader(sent, now)
}

// AdvertisedReferences is never called without a context.
func (s *httpSession) AdvertisedReferences() (*packp.AdvRefs, error) {
	return s.AdvertisedReferencesContext(context.Background())
}

// AdvertisedReferencesContext asks for the list of references.
func (s *httpSession) AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error) {
	ctx = s.withProxy(ctx)
	inner, sent := s.current()
	adv, err := inner.AdvertisedReferencesContext(ctx)
	if err != nil && s.again(ctx, err, sent) {
		inner, _ = s.current()
		return inner.AdvertisedReferencesContext(ctx)
	}
	return adv, err
}

// UploadPack asks for a pack.
func (s *httpSession) UploadPack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	ctx = s.withProxy(ctx)
	inner, sent := s.current()
	resp, err := inner.UploadPack(ctx, req)
	if err == nil || !s.again(ctx, err, sent) {
		return resp, err
	}
	// The list is asked for once more, for it says where redirects lead.
	inner, _ = s.current()
	if _, err := inner.AdvertisedReferencesContext(ctx); err != nil {
		return nil, err
	}
	return inner.UploadPack(ctx, req)
}

// Close has nothing to do.
func (s *httpSession) Close() error { return nil }

// gitHeaders returns the headers that git's requests to u carry: a login, and
// what git's configuration adds. Where both set one, the Credentials option
// wins over the configuration, and that over the netrc file.
func (f *Fetcher) gitHeaders(ctx context.Context, cfg *gitconfig.Config, u *url.URL, to reach) (http.Header, error) {
	login, err := f.credentials(ctx, u, to)
	if err != nil || u.Scheme != "https" && !to.insecure {
		return nil, err
	}
	header := make(http.Header)
	for _, line := range cfg.HTTP(u, "extraHeader") {
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		if ok && value != "" && isToken(name) && !strings.ContainsFunc(value, isControl) {
			header.Add(name, value)
		}
	}
	for name, values := range login.header {
		if _, ok := header[name]; !ok || login.chosen {
			header[name] = values
		}
	}
	return header, nil
}

// isToken reports whether a text can be the name of a header.
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
}
