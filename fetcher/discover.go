package fetcher

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"unsafe"

	"github.com/athens-go/athens/internal/flight"
)

// Version control systems as go-import tags name them.
const (
	vcsGit = "git"
	vcsMod = "mod" // a server that speaks the GOPROXY protocol
)

// A repoLocation is where the code of a module is.
type repoLocation struct {
	vcs    string
	url    string // of the repository
	root   string // import path of the repository's root, or of subdir
	subdir string // folder in the repository, from a go-import tag
	policy networkPolicy
}

// size returns the memory that a location takes, in bytes.
func (p *repoLocation) size() int64 {
	if p == nil {
		return 0
	}
	return int64(unsafe.Sizeof(*p)) + int64(len(p.vcs)+len(p.url)+len(p.root)+len(p.subdir)+4*16)
}

// A hostPattern is a hosting service, or a form of path, that needs no go-import page.
// The go command calls it a vcsPath.
type hostPattern struct {
	host    string // paths under it that don't match are not modules
	path    *regexp.Regexp
	vcs     string
	suffix  bool // a repository name may not end in .git or a similar suffix
	anyHost bool // the scheme is found by trying several
}

var vcsSuffix = regexp.MustCompile(`\.(bzr|fossil|git|hg|svn)$`)

// hostPatterns are the go command's. The first group is the root, which is also the
// repository's URL without a scheme. The last pattern is for any host: its second group
// is the repository's name without the suffix, and its third is that suffix.
var hostPatterns = []hostPattern{
	{host: "github.com", vcs: vcsGit, suffix: true,
		path: regexp.MustCompile(`^(github\.com/[\w.\-]+/[\w.\-]+)(?:/[\w.\-]+)*$`)},
	{host: "bitbucket.org", vcs: vcsGit, suffix: true,
		path: regexp.MustCompile(`^(bitbucket\.org/[\w.\-]+/[\w.\-]+)(?:/[\w.\-]+)*$`)},
	{host: "hub.jazz.net/git", vcs: vcsGit, suffix: true,
		path: regexp.MustCompile(`^(hub\.jazz\.net/git/[a-z0-9]+/[\w.\-]+)(?:/[\w.\-]+)*$`)},
	{host: "git.apache.org", vcs: vcsGit,
		path: regexp.MustCompile(`^(git\.apache\.org/[a-z0-9_.\-]+\.git)(?:/[\w.\-]+)*$`)},
	{host: "git.openstack.org", vcs: vcsGit,
		path: regexp.MustCompile(`^(git\.openstack\.org/[\w.\-]+/[\w.\-]+)(?:\.git)?(?:/[\w.\-]+)*$`)},
	{host: "chiselapp.com", vcs: "fossil",
		path: regexp.MustCompile(`^(chiselapp\.com/user/[A-Za-z0-9]+/repository/[\w.\-]+)$`)},
	{anyHost: true,
		path: regexp.MustCompile(`(((?:[a-z0-9.\-]+\.)+[a-z0-9.\-]+(?::[0-9]+)?(?:/~?[\w.\-]+)+?)\.(bzr|fossil|git|hg|svn))(?:/~?[\w.\-]+)*$`)},
}

// locate returns where a module's code is, from the cache or by asking its host.
func (f *Fetcher) locate(ctx context.Context, path string) (*repoLocation, error) {
	to := f.policyFor(ctx, path) // the flight's context lacks it
	key := to.String() + path
	if p, err, ok := f.locations.get(key); ok && (err == nil || cachedFailure(ctx, f.locations, key) != nil) {
		return p, err
	}
	caller := ctx
	return f.locating.Do(ctx, key, func(ctx context.Context) (*repoLocation, error) {
		ctx = keepNoCache(ctx, caller)
		p, err := f.lookUp(ctx, path, to)
		switch {
		case err == nil:
			f.locations.put(key, p, nil, f.opts.DiscoveryTTL)
		case errors.As(err, new(notFound)):
			f.locations.put(key, nil, err, f.opts.MissTTL)
		}
		return p, err
	})
}

func (f *Fetcher) lookUp(ctx context.Context, path string, to networkPolicy) (*repoLocation, error) {
	p, err := f.matchHostPattern(ctx, path, to)
	if p == nil && err == nil {
		p, err = f.discover(ctx, path, to)
	}
	if err != nil {
		return nil, err
	}
	p.policy = to
	if strings.Contains(p.root, "...") {
		return nil, notFoundf("the path of a repository's root can't contain \"...\"")
	}
	if p.vcs != vcsGit && p.vcs != vcsMod {
		return nil, invalidf("%s is a %s repository: %w", p.root, p.vcs, errors.ErrUnsupported)
	}
	return p, f.checkGOVCS(p)
}

// matchHostPattern locates paths whose form tells where the repository is. It returns
// nil if path has no such form.
func (f *Fetcher) matchHostPattern(ctx context.Context, path string, to networkPolicy) (*repoLocation, error) {
	for _, s := range hostPatterns {
		if s.host != "" && !hasPathPrefix(path, s.host) {
			continue
		}
		m := s.path.FindStringSubmatch(path)
		if m == nil {
			if s.host == "" {
				continue
			}
			return nil, notFoundf("%q is not a valid import path on %s", path, s.host)
		}
		if s.suffix && vcsSuffix.MatchString(m[1]) {
			return nil, notFoundf("a path on %s can't end in a version control suffix such as .git", s.host)
		}
		vcs := s.vcs
		if s.anyHost {
			vcs = m[3]
		}
		if vcs != vcsGit {
			return nil, invalidf("%s is a %s repository: %w", m[1], vcs, errors.ErrUnsupported)
		}
		p := &repoLocation{vcs: vcs, url: "https://" + m[1], root: m[1], policy: to}
		if err := f.checkGOVCS(p); err != nil {
			return nil, err
		}
		if s.anyHost {
			var err error
			if p.url, err = f.probe(ctx, m[2], to); err != nil {
				return nil, err
			}
		}
		return p, nil
	}
	return nil, nil
}

// probe finds the scheme with which a repository, given without one, can be reached.
// It tries ssh only with hosts that are in known_hosts.
func (f *Fetcher) probe(ctx context.Context, repo string, to networkPolicy) (string, error) {
	schemes := []string{"https"}
	if to.insecure {
		schemes = append(schemes, "http")
	}
	var outage, missing error
	for _, scheme := range append(schemes, "git+ssh") {
		name := scheme + "://" + repo
		r := f.acquireRepo(name, to)
		_, err := r.refs(ctx, 0)
		r.release()
		switch {
		case err == nil:
			return name, nil
		case errors.Is(err, errUnknownHost), errors.Is(err, errNoSSH):
		case errors.As(err, new(notFound)):
			missing = err
		case scheme == "git+ssh" && missing != nil && !errors.As(err, new(serverMessage)):
			return "", err // what https does not find, ssh may
		case missing == nil && outage == nil:
			outage = err
		}
	}
	// A "not found" over http counts more than the failure to reach https.
	if outage != nil && (missing == nil || !to.insecure) {
		return "", outage
	}
	return "", missing
}

// discover reads the go-import page from the path's own host.
func (f *Fetcher) discover(ctx context.Context, path string, to networkPolicy) (*repoLocation, error) {
	at, tags, err := f.goImports(ctx, path, to)
	if err != nil {
		return nil, err
	}
	tag, err := matchGoImport(tags, path)
	if err != nil {
		return nil, notFoundf("%s: %v", at, err)
	}
	p, invalid := tag.location(at)
	if tag.prefix == path {
		return p, invalid
	}
	listed := f.prefetchRefs(ctx, p, to)
	if err := f.checkRootPage(ctx, path, at, tag, to); err != nil {
		return nil, err
	}
	if invalid != nil {
		return nil, invalid
	}
	return p, listed()
}

// checkRootPage reads the page of a tag's prefix too. The owner of a sub-path does not
// own the prefix, so the two pages must agree.
func (f *Fetcher) checkRootPage(ctx context.Context, path, at string, tag goImport, to networkPolicy) error {
	rootAt, rootTags, err := f.goImports(ctx, tag.prefix, to)
	if err != nil {
		return err
	}
	rootTag, err := matchGoImport(rootTags, path)
	if err != nil || rootTag != tag {
		return notFoundf("%s and %s disagree about the go-import tag of %s", at, rootAt, tag.prefix)
	}
	return nil
}

// prefetchRefs lists a repository's references while the page of its root is
// read: both are needed in any case. The returned function waits for the list, and
// returns an error only if that failed with an outage. Any other result is cached for
// the next request.
func (f *Fetcher) prefetchRefs(ctx context.Context, p *repoLocation, to networkPolicy) (listed func() error) {
	if p == nil || p.vcs != vcsGit || f.checkGOVCS(p) != nil {
		return func() error { return nil }
	}
	r := f.acquireRepo(p.url, to)
	answer := flight.Start(func() (*refSet, error) {
		defer r.release()
		return r.refs(ctx, 0)
	})
	return func() error {
		_, err := answer.Wait(ctx)
		if errors.As(err, new(notFound)) || errors.As(err, new(invalid)) {
			return nil
		}
		return err
	}
}

// maxTag bounds a go-import tag, in bytes. Its parts are cached, and are shown in
// errors.
const maxTag = 4 << 10

func (tag goImport) size() int {
	return len(tag.prefix) + len(tag.vcs) + len(tag.repo) + len(tag.subdir)
}

// repoLocation says where a tag, found on the page at, says that the code is.
func (tag goImport) location(at string) (*repoLocation, error) {
	if tag.size() > maxTag {
		return nil, notFoundf("%s: the go-import tag is larger than %d bytes", at, maxTag)
	}
	if strings.HasPrefix(tag.subdir, "/") || strings.HasPrefix(tag.subdir, "-") {
		return nil, notFoundf("%s: invalid subdirectory %q in the go-import tag", at, tag.subdir)
	}
	u, err := url.Parse(tag.repo)
	switch {
	case err != nil:
		return nil, notFoundf("%s: invalid repository URL %q", at, tag.repo)
	case u.Scheme == "" || u.Scheme == "file":
		return nil, notFoundf("%s: the repository URL %q must have a network scheme such as https", at, tag.repo)
	}
	switch tag.vcs {
	case vcsGit, vcsMod, "hg", "svn", "bzr", "fossil":
	default:
		return nil, notFoundf("%s: unknown version control system %q", at, tag.vcs)
	}
	return &repoLocation{vcs: tag.vcs, url: tag.repo, root: tag.prefix, subdir: tag.subdir}, nil
}

// errNoTag is an outage: a page without a tag, such as a sign-in or a maintenance page,
// does not show that there is no module. Only go-import tags of other paths do, or
// status 404 or 410.
var errNoTag = errors.New("the page has no go-import tag, so it is not known whether the module exists")

// An importPage has the tags of the go-import page of a path.
type importPage struct {
	at   string // its URL
	tags []goImport
}

// size returns the memory that the page refers to, in bytes.
func (p importPage) size() int64 {
	n := len(p.at) + cap(p.tags)*int(unsafe.Sizeof(goImport{}))
	for _, tag := range p.tags {
		n += tag.size()
	}
	return int64(n)
}

// maxPageKept bounds a page that is cached, in bytes.
const maxPageKept = 8 << 10

// goImports returns the tags of the go-import page of a path, and that page's
// URL. All paths below a root need the root's page, and they are often requested
// together, so it is cached for as long as "not found" is.
func (f *Fetcher) goImports(ctx context.Context, path string, to networkPolicy) (string, []goImport, error) {
	key := to.String() + path
	p, err, ok := f.pages.get(key)
	if !ok || err != nil && cachedFailure(ctx, f.pages, key) == nil {
		caller := ctx
		p, err = f.paging.Do(ctx, key, func(ctx context.Context) (importPage, error) {
			p, err := f.askGoImports(keepNoCache(ctx, caller), path, to)
			if err == nil && p.size() <= maxPageKept || errors.As(err, new(notFound)) {
				f.pages.put(key, p, err, min(f.opts.MissTTL, f.opts.DiscoveryTTL))
			}
			if ttl := f.failureTTL(err); ttl > 0 && ctx.Err() == nil {
				f.pages.put(key, p, err, ttl)
			}
			return p, err
		})
	}
	return p.at, p.tags, err
}

func (f *Fetcher) askGoImports(ctx context.Context, path string, to networkPolicy) (importPage, error) {
	host, rest, _ := strings.Cut(path, "/")
	if !strings.Contains(host, ".") {
		return importPage{}, notFoundf("%q does not begin with a hostname", path)
	}
	u := &url.URL{Host: host, Path: "/" + rest, RawQuery: "go-get=1"}
	p, err := f.getImportPage(ctx, u, to)
	if err != nil {
		return importPage{}, err
	}
	tags, err := parseGoImports(p.body)
	if len(tags) > 0 {
		return importPage{p.url, tags}, nil // whatever the status, and even if the body was cut
	}
	if p.bodyErr != nil {
		return importPage{}, sourceUnavailable(p.url, cause(p.bodyErr))
	}
	if p.status != http.StatusOK {
		return importPage{}, statusError(p.response)
	}
	if err == nil {
		err = errNoTag
	}
	return importPage{}, sourceUnavailable(p.url, err)
}
