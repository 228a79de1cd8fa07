package fetcher

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	modzip "golang.org/x/mod/zip"

	"github.com/athens-go/athens"
)

// goproxy is a module whose go-import page names a GOPROXY server instead of a
// repository. It serves one request. It returns the server's files
// unchanged.
type goproxy struct {
	f      *Fetcher
	path   string   // of the module
	base   *url.URL // without "/@v"
	name   string   // base without credentials
	policy networkPolicy
	lines  [][]string // of the version list; nil until it was requested
}

func (f *Fetcher) goproxy(p *repoLocation, path string) (*goproxy, error) {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return nil, notFound{err}
	}
	u, err := url.Parse(p.url)
	if err != nil {
		return nil, notFound{err}
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil, invalidf("%s: a GOPROXY server's URL must have scheme https or http, not %q: %w", redacted(p.url), u.Scheme, errors.ErrUnsupported)
	}
	if u.Scheme == "http" && !p.policy.insecure {
		return nil, notFoundf("the URL %s is plain http, which Options.Insecure (GOINSECURE) does not allow for this path", redacted(p.url))
	}
	base := u.JoinPath(escaped)
	return &goproxy{f: f, path: path, base: base, name: redactedURL(base), policy: p.policy}, nil
}

// get opens a file of the GOPROXY protocol.
func (g *goproxy) get(ctx context.Context, file string) (io.ReadCloser, error) {
	for _, key := range []string{g.key(""), g.key(file)} {
		if err := cachedFailure(ctx, g.f.failures, key); err != nil {
			return nil, err
		}
	}
	body, err := g.request(ctx, file)
	if err != nil {
		g.cacheFailure(ctx, file, err)
	}
	return body, err
}

// key is the cache key of failures to get a file, or any file if that is empty.
func (g *goproxy) key(file string) string { return g.policy.String() + "mod " + g.name + " " + file }

// cacheFailure caches why a file could not be read: for all files of the module if it
// does not depend on the file.
func (g *goproxy) cacheFailure(ctx context.Context, file string, err error) {
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return // the caller has left
	}
	if refusesAll(err) {
		file = ""
	}
	g.f.cacheFailure(g.key(file), err)
}

func (g *goproxy) request(ctx context.Context, file string) (io.ReadCloser, error) {
	u := g.base.JoinPath(file)
	release, err := g.f.limiter.acquire(ctx, u.Host)
	if err != nil {
		return nil, err
	}
	resp, err := g.f.get(ctx, g.f.pageClient(networkPolicy{private: g.policy.private}, u.Scheme), u, g.policy)
	if err != nil {
		release()
		return nil, sourceUnavailable(g.name, cause(err))
	}
	body := limitedBody{resp.Body, sync.OnceFunc(release)}
	if resp.StatusCode != http.StatusOK {
		body.Close()
		return nil, statusError(responseOf(u, resp))
	}
	return body, nil
}

// limitedBody is a body that keeps its request's slot until it is closed.
type limitedBody struct {
	io.ReadCloser
	release func()
}

func (p limitedBody) Close() error {
	defer p.release()
	return p.ReadCloser.Close()
}

// read returns a small file of the GOPROXY protocol.
func (g *goproxy) read(ctx context.Context, file string) ([]byte, error) {
	ctx, cancel := g.f.withPageTimeout(ctx, g.f.opts.PageTimeout)
	defer cancel()
	body, err := g.get(ctx, file)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := g.f.readMod(ctx, body)
	if err != nil {
		return nil, unavailable(g.name, cause(err))
	}
	if int64(len(data)) > g.f.opts.MaxModBytes {
		return nil, invalidf("%s/%s has more than %d bytes; Options.MaxModBytes sets this limit", g.name, file, g.f.opts.MaxModBytes)
	}
	err = notText(g.name+"/"+file, data)
	if err != nil {
		g.cacheFailure(ctx, file, err)
	}
	return data, err
}

func (g *goproxy) readInfo(ctx context.Context, file string) (*athens.Info, error) {
	data, err := g.read(ctx, file)
	if err != nil {
		return nil, err
	}
	var info athens.Info
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, unavailable(g.name+"/"+file, fmt.Errorf("the answer is not the JSON of a version: %w", err))
	}
	if info.Version != module.CanonicalVersion(info.Version) || info.Version == "" {
		return nil, invalidf("%s/%s: %q is not a canonical version", g.name, file, info.Version)
	}
	return &info, nil
}

// list returns the lines of the version list, split into words. It caches them, since
// one request needs the list several times.
func (g *goproxy) list(ctx context.Context) ([][]string, error) {
	if g.lines != nil {
		return g.lines, nil
	}
	data, err := g.read(ctx, "@v/list")
	if err != nil {
		return nil, err
	}
	lines := [][]string{}
	said := false
	for line := range strings.Lines(string(data)) {
		words := strings.Fields(line)
		said = said || len(words) > 0
		if len(words) > 0 && semver.IsValid(words[0]) {
			lines = append(lines, words)
		}
	}
	if said && len(lines) == 0 {
		return nil, unavailable(g.name+"/@v/list", errors.New("the answer is not a list of versions: it names none"))
	}
	g.lines = lines
	return lines, nil
}

func (g *goproxy) versions(ctx context.Context) ([]string, error) { return g.versionsWith(ctx, "") }

func (g *goproxy) versionsWith(ctx context.Context, prefix string) ([]string, error) {
	lines, err := g.list(ctx)
	if err != nil {
		return nil, err
	}
	var list []string
	for _, words := range lines {
		if v := words[0]; strings.HasPrefix(v, prefix) && module.CanonicalVersion(v) == v && !module.IsPseudoVersion(v) {
			list = append(list, v)
		}
	}
	semver.Sort(list)
	return list, nil
}

func (g *goproxy) named(ctx context.Context, revision string) (*athens.Info, error) {
	escaped, err := module.EscapeVersion(revision)
	if err != nil {
		return nil, notFound{err}
	}
	info, err := g.readInfo(ctx, "@v/"+escaped+".info")
	if err != nil {
		return nil, err
	}
	if info.Version != revision && module.Check(g.path, revision) == nil {
		return nil, invalidf("%s answered %s with version %s", g.name, revision, info.Version)
	}
	return info, nil
}

// tip returns the server's @latest, or otherwise the latest pseudo-version of its list.
func (g *goproxy) tip(ctx context.Context) (*athens.Info, error) {
	info, err := g.readInfo(ctx, "@latest")
	if !isNotFound(err) {
		return info, err
	}
	lines, err := g.list(ctx)
	if err != nil {
		return nil, err
	}
	last, when := "", time.Time{}
	for _, words := range lines {
		var t time.Time
		if len(words) > 1 {
			t, _ = time.Parse(time.RFC3339, words[1])
		} else {
			t, _ = module.PseudoVersionTime(words[0])
		}
		if when.Before(t) {
			last, when = words[0], t
		}
	}
	if last == "" {
		return nil, notFoundf("%s has no version", g.name)
	}
	return g.named(ctx, last)
}

func (g *goproxy) mod(ctx context.Context, version string) ([]byte, error) {
	if version == "" {
		info, err := g.tip(ctx)
		if err != nil {
			return nil, err
		}
		version = info.Version
	}
	escaped, err := module.EscapeVersion(version)
	if err != nil {
		return nil, notFound{err}
	}
	return g.read(ctx, "@v/"+escaped+".mod")
}

func (g *goproxy) listOrigin(string) *athens.Origin { return nil }

func (g *goproxy) content(m module.Version) athens.Content { return &proxyContent{g, m} }

// proxyContent is one version on a GOPROXY server.
type proxyContent struct {
	*goproxy
	module module.Version
}

func (c *proxyContent) file(extension string) (string, error) {
	escaped, err := module.EscapeVersion(c.module.Version)
	if err != nil {
		return "", notFound{err}
	}
	return "@v/" + escaped + extension, nil
}

func (c *proxyContent) toAthensError(err error) error {
	return toAthensError(c.module.Path, c.module.Version, err)
}

// Info implements [athens.Content].
func (c *proxyContent) Info(ctx context.Context) (*athens.Info, error) {
	file, err := c.file(".info")
	if err != nil {
		return nil, c.toAthensError(err)
	}
	info, err := c.readInfo(ctx, file)
	return info, c.toAthensError(err)
}

// Mod implements [athens.Content].
func (c *proxyContent) Mod(ctx context.Context) ([]byte, error) {
	file, err := c.file(".mod")
	if err != nil {
		return nil, c.toAthensError(err)
	}
	data, err := c.read(ctx, file)
	return data, c.toAthensError(err)
}

// Zip implements [athens.Content].
func (c *proxyContent) Zip(ctx context.Context, w io.Writer) error {
	file, err := c.file(".zip")
	if err != nil {
		return c.toAthensError(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.f.opts.FetchTimeout, slowError{c.f.opts.FetchTimeout, "FetchTimeout"})
	defer cancel()
	body, err := c.get(ctx, file)
	if err != nil {
		return c.toAthensError(err)
	}
	defer body.Close()
	zip := bufio.NewReader(body)
	if begin, _ := zip.Peek(1); string(begin) == "<" {
		return c.toAthensError(notText(c.name+"/"+file, begin))
	}
	n, err := io.Copy(w, io.LimitReader(zip, modzip.MaxZipFile+1))
	if err == nil && n > modzip.MaxZipFile {
		err = invalidf("the zip is larger than %d bytes, the go command's limit", modzip.MaxZipFile)
	}
	return c.toAthensError(err)
}
