package redirect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/protocol"
)

// Versions returns the upstream's @v/list, less what is no tagged version of
// the module. That a module has none is remembered for three seconds.
func (u *Upstream) Versions(ctx context.Context, path string) ([]string, error) {
	l, err := u.list(ctx, path)
	return l.tagged, err
}

// listing is what a @v/list says.
type listing struct {
	tagged []string // in order
	newest string   // the newest pseudo-version
	lines  int      // that are not empty
	odd    int      // those of them that begin with no version at all
}

func (u *Upstream) list(ctx context.Context, path string) (listing, error) {
	q := question{limit: u.opts.MaxListBytes, module: path}
	var err error
	if q.path, err = protocol.ListPath(path); err != nil {
		return listing{}, q.invalid(err)
	}
	body, err := u.share(ctx, q, func(shared context.Context) ([]byte, error) {
		if err := u.absent.get(path); err != nil && !athens.RequestInfoFrom(shared).NoCache {
			return nil, err
		}
		body, err := u.client.get(shared, q)
		u.absent.note(path, err) // before the next caller can ask
		return body, err
	})
	if err != nil {
		return listing{}, err
	}
	l, err := parseList(path, body, u.opts.MaxVersions)
	if err != nil {
		return listing{}, q.invalid(err)
	}
	if l.odd > l.lines/2 {
		return listing{}, u.client.notAsked("a text whose lines are mostly no versions")
	}
	return l, nil
}

// parseList reads a @v/list. Each line begins with a version, and may go on
// with its time; a line that does not is passed over, as the go command does.
func parseList(path string, body []byte, most int) (listing, error) {
	var (
		l    = listing{tagged: []string{}}
		when time.Time
	)
	for line := range bytes.Lines(body) {
		fields := bytes.Fields(line)
		if len(fields) == 0 {
			continue
		}
		l.lines++
		if !semver.IsValid(string(fields[0])) {
			l.odd++
		}
		if !protocol.Canonical(module.Version{Path: path, Version: string(fields[0])}) {
			continue
		}
		v := string(fields[0])
		if !module.IsPseudoVersion(v) {
			if l.tagged = append(l.tagged, v); len(l.tagged) > most {
				return listing{}, fmt.Errorf("its list has more than %d versions", most)
			}
			continue
		}
		t, _ := module.PseudoVersionTime(v)
		if len(fields) > 1 {
			t, _ = time.Parse(time.RFC3339, string(fields[1]))
		}
		if l.newest == "" || when.Before(t) {
			l.newest, when = v, t
		}
	}
	semver.Sort(l.tagged)
	l.tagged = slices.Compact(l.tagged)
	return l, nil
}

// highest returns the version in an ordered list that the go command chooses for a query: the
// highest release with that prefix, otherwise the highest pre-release. It returns "" if there is
// none.
func highest(versions []string, prefix string) string {
	best := ""
	for _, v := range slices.Backward(versions) {
		if !strings.HasPrefix(v, prefix) {
			continue
		}
		if semver.Prerelease(v) == "" {
			return v
		}
		if best == "" {
			best = v
		}
	}
	return best
}

// Resolve returns what the upstream makes of a query. A server need not have a
// @latest, nor know version prefixes: then the list decides, as it does for the
// go command.
func (u *Upstream) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	if query == "latest" {
		return u.latest(ctx, path)
	}
	if isPrefix(query) {
		l, err := u.list(ctx, path)
		if missing := new(*athens.MissingError); err != nil && !errors.As(err, missing) {
			return nil, err
		}
		if highest(l.tagged, query+".") != "" {
			left, err := u.unretracted(ctx, path, l.tagged)
			if err != nil {
				return nil, err
			}
			v := highest(left, query+".")
			if v == "" {
				return nil, &athens.MissingError{Path: path, Query: query, Err: errRetracted}
			}
			return u.info(ctx, path, v)
		}
	}
	return u.info(ctx, path, query)
}

func (u *Upstream) latest(ctx context.Context, path string) (*athens.Info, error) {
	q := question{limit: u.opts.MaxInfoBytes, module: path, version: "latest"}
	var err error
	if q.path, err = protocol.LatestPath(path); err != nil {
		return nil, q.invalid(err)
	}
	body, err := u.get(ctx, q)
	if err == nil {
		return u.read(q, body)
	}
	missing := new(*athens.MissingError)
	if !errors.As(err, missing) {
		return nil, err
	}
	l, listErr := u.list(ctx, path)
	if listErr != nil && !errors.As(listErr, missing) {
		return nil, listErr
	}
	left, leftErr := u.unretracted(ctx, path, l.tagged)
	if leftErr != nil {
		return nil, leftErr
	}
	v := highest(left, "")
	if v == "" && len(l.tagged) == 0 {
		v = l.newest
	}
	if v == "" {
		return nil, err
	}
	return u.info(ctx, path, v)
}

// isPrefix reports whether query is a version prefix such as "v1" or "v1.2".
func isPrefix(query string) bool {
	return semver.IsValid(query) && semver.Build(query) == "" && semver.Prerelease(query) == "" && strings.Count(query, ".") < 2
}

// info asks for one .info.
func (u *Upstream) info(ctx context.Context, path, query string) (*athens.Info, error) {
	q := question{limit: u.opts.MaxInfoBytes, module: path, version: query}
	var err error
	if q.path, err = protocol.FilePath(module.Version{Path: path, Version: query}, athens.InfoFile.String()); err != nil {
		return nil, q.invalid(err)
	}
	body, err := u.get(ctx, q)
	if err != nil {
		return nil, err
	}
	return u.read(q, body)
}

// read is parseInfo for an answer of the upstream, which may have unexpected content.
func (u *Upstream) read(q question, body []byte) (*athens.Info, error) {
	var about struct{ Version *json.RawMessage }
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		if err := json.Unmarshal(body, &about); err != nil || about.Version != nil {
			return parseInfo(q, body)
		}
	}
	return nil, u.client.notAsked("something that is no .info of a version")
}

// parseInfo reads the .info that answers q. It names a version that a module of
// that path can have, and the one asked for if that was one.
func parseInfo(q question, body []byte) (*athens.Info, error) {
	info := new(athens.Info)
	if err := json.Unmarshal(body, info); err != nil {
		return nil, q.invalid(fmt.Errorf("the .info is not the JSON of a version: %.200s", err.Error()))
	}
	asked := module.Version{Path: q.module, Version: q.version}
	got := module.Version{Path: q.module, Version: info.Version}
	if !protocol.Canonical(got) {
		return nil, q.invalid(fmt.Errorf("the .info names %.100q, which is not a version of that module", info.Version))
	}
	if got != asked && protocol.Canonical(asked) {
		return nil, q.invalid(fmt.Errorf("the .info names %s", info.Version))
	}
	info.Time, info.Raw = info.Time.UTC(), bytes.Clone(body) // others may hold the same answer
	if o := info.Origin; o != nil && strings.Contains(o.URL, "@") {
		o.URL = withoutUser(o.URL)
	}
	if hasPassword(body) {
		info.Raw = nil // what is known of it is written anew
		if b, err := info.Encode(); err != nil || hasPassword(b) {
			info.Origin = nil
		}
	}
	return info, nil
}

// password finds credentials in a URL; the user's name alone is part of an ssh address.
var password = regexp.MustCompile(`(?i)https?://[^/\s]*@|://[^/\s@]*:[^/\s]*@`)

// hasPassword reports whether a string in the JSON body, whatever it is of, is a URL
// with credentials.
func hasPassword(body []byte) bool {
	if !bytes.ContainsRune(body, ':') || !bytes.ContainsAny(body, `@\`) {
		return false
	}
	for d := json.NewDecoder(bytes.NewReader(body)); ; {
		token, err := d.Token()
		if err != nil {
			return false // it was parsed before
		}
		if s, ok := token.(string); ok && password.MatchString(s) {
			return true
		}
	}
}

// withoutUser takes the password out of the URL of a repository. The user name
// of an ssh URL is part of the address.
func withoutUser(repo string) string {
	u, err := url.Parse(repo)
	if err != nil {
		return repo // of the form git@host:path, without a password
	}
	if u.User == nil {
		return repo
	}
	if u.Scheme == "http" || u.Scheme == "https" {
		u.User = nil
	} else {
		u.User = url.User(u.User.Username())
	}
	return u.String()
}
