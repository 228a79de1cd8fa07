package fetcher

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/athens-go/athens/internal/gitconfig"
)

// A remote is the parsed URL of a repository, after git's url.<base>.insteadOf has
// been applied.
type remote struct {
	scheme string   // "https", "http", "ssh" or "git"
	url    *url.URL // for https and http; it may contain a login

	user, host, port, path string // for ssh and git; user and port may be empty
}

// remote returns where the repository is reached.
func (r *repo) remote(cfg *gitconfig.Config) (*remote, error) {
	address := cfg.Rewrite(r.url)
	rewritten := address != r.url
	to, err := parseRemote(address, rewritten)
	if err != nil {
		// The URL in git's configuration can contain secrets, so it is not shown.
		if rewritten {
			return nil, invalidf("the URL that git's configuration replaces %s with: %w; url.<base>.insteadOf sets it", r.name, err)
		}
		return nil, notFoundf("the repository URL %s: %w", r.name, err)
	}
	if allowed := os.Getenv("GIT_ALLOW_PROTOCOL"); allowed != "" && !slices.Contains(strings.Split(allowed, ":"), to.scheme) {
		return nil, invalidf("%s: the environment variable GIT_ALLOW_PROTOCOL does not allow %s", r.name, to.scheme)
	}
	return to, nil
}

// errScheme wraps [errors.ErrUnsupported], so that [First] tries the next
// Fetcher.
var errScheme = fmt.Errorf("its scheme is not https, http, ssh or git: %w; url.<base>.insteadOf in git's configuration (Options.GitConfig) can replace it", errors.ErrUnsupported)

// parseRemote parses a repository's URL. It accepts git's short form for ssh,
// user@host:path, only if short is true: git's configuration may use it, but
// go-import pages may not. Errors don't repeat the URL.
func parseRemote(address string, short bool) (*remote, error) {
	if !strings.Contains(address, "://") {
		if short {
			return parseShort(address)
		}
		return nil, errors.New("it is not a URL")
	}
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("it is not valid")
	case !strings.HasPrefix(address, u.Scheme):
		return nil, errors.New("its scheme must be in lower case")
	}
	to := &remote{user: u.User.Username(), host: u.Hostname(), port: u.Port(), path: u.Path}
	switch u.Scheme {
	case "https", "http":
		if u.RawQuery != "" || u.Fragment != "" {
			return nil, errors.New("it has a query or a fragment")
		}
		to.scheme, to.url = u.Scheme, asRequested(u)
	case "ssh", "git+ssh", "ssh+git":
		to.scheme = "ssh"
		if strings.HasPrefix(to.path, "/~") {
			to.path = to.path[1:]
		}
	case "git":
		to.scheme = "git"
	default:
		return nil, errScheme
	}
	return to, to.check()
}

// asRequested returns a repository's URL as git uses it: without a trailing slash,
// and with dot segments resolved as a browser does.
func asRequested(u *url.URL) *url.URL {
	to := *u
	if strings.Contains(u.Path, "/.") {
		to = *u.ResolveReference(&url.URL{Path: u.Path, RawPath: u.RawPath})
		to.User = u.User
	}
	to.Path, to.RawPath = strings.TrimSuffix(to.Path, "/"), strings.TrimSuffix(to.RawPath, "/")
	return &to
}

func parseShort(address string) (*remote, error) {
	to := &remote{scheme: "ssh"}
	host, path, ok := strings.Cut(address, ":")
	if user, rest, found := strings.Cut(address, "@["); found || strings.HasPrefix(address, "[") {
		if !found {
			user, rest = "", address[1:]
		}
		to.user = user
		host, path, ok = strings.Cut(rest, "]:")
	} else if i := strings.LastIndex(host, "@"); i >= 0 {
		to.user, host = host[:i], host[i+1:]
	}
	if !ok || strings.Contains(to.user+host, "/") || strings.HasPrefix(path, ":") {
		return nil, errScheme // a file's name, or helper::address
	}
	to.host, to.path = host, path
	if h, port, err := net.SplitHostPort(host); err == nil {
		to.host, to.port = h, port // [host:port]:path
	}
	return to, to.check()
}

// check refuses remotes that no server has, and text that a tool could misread, as an
// option or as the end of a line.
func (to *remote) check() error {
	if to.host == "" || to.path == "" && to.url == nil {
		return errors.New("it has no host or no path")
	}
	for _, part := range []string{to.user, to.host, to.path} {
		if strings.HasPrefix(part, "-") || strings.ContainsFunc(part, isControl) {
			return errors.New("its user, host or path begins with a hyphen or contains control characters")
		}
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// address returns the remote's host and port to dial, with port as the default.
func (to *remote) address(port string) string {
	if to.port != "" {
		port = to.port
	}
	return net.JoinHostPort(to.host, port)
}
