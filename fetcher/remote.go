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

// A remote is where a repository is reached: its URL after git's configuration
// has had its say, taken apart.
type remote struct {
	scheme string   // "https", "http", "ssh" or "git"
	url    *url.URL // for https and http; it may hold a login

	user, host, port, path string // for ssh and git; user and port may be empty
}

// remote finds where the repository is reached.
func (r *repo) remote(cfg *gitconfig.Config) (*remote, error) {
	address := cfg.Rewrite(r.url)
	rewritten := address != r.url
	to, err := parseRemote(address, rewritten)
	if err != nil {
		// The text of what git's configuration says can hold secrets.
		if rewritten {
			return nil, invalidf("what git's configuration puts in the place of %s: %w; url.<base>.insteadOf says so", r.name, err)
		}
		return nil, notFoundf("the repository's URL %s: %w", r.name, err)
	}
	if allowed := os.Getenv("GIT_ALLOW_PROTOCOL"); allowed != "" && !slices.Contains(strings.Split(allowed, ":"), to.scheme) {
		return nil, invalidf("%s: GIT_ALLOW_PROTOCOL does not allow %s", r.name, to.scheme)
	}
	return to, nil
}

// errScheme is wrapped with [errors.ErrUnsupported], so that another Fetcher
// may try.
var errScheme = fmt.Errorf("its scheme is none of https, http, ssh and git: %w", errors.ErrUnsupported)

// parseRemote takes a repository's URL apart. Git's short form for ssh,
// user@host:path, is taken where short is true: go-import pages may not use it,
// but git's configuration may. The errors don't repeat the URL.
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
		return nil, errors.New("git takes schemes in small letters only")
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

// asRequested is a repository's URL as git uses it: below it are the files, with
// a slash between, and dots in it mean what they mean to a browser.
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

// check refuses what no server can be asked for, and what could be taken for
// something else on the way: an option, or the end of a line.
func (to *remote) check() error {
	if to.host == "" || to.path == "" && to.url == nil {
		return errors.New("it lacks a host or a path")
	}
	for _, part := range []string{to.user, to.host, to.path} {
		if strings.HasPrefix(part, "-") || strings.ContainsFunc(part, isControl) {
			return errors.New("it holds a strange host or path")
		}
	}
	return nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// address is the remote's host and port, as they are dialed.
func (to *remote) address(port string) string {
	if to.port != "" {
		port = to.port
	}
	return net.JoinHostPort(to.host, port)
}
