package athenstest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/internal/protocol"
)

// Source is an athens.Fetcher that counts its questions, remembers every name in them, and
// fails as a test tells it to. It is version control or, inside an [Upstream], a registry.
type Source struct {
	t    testing.TB
	Name string // "vcs" or "upstream"

	mu       sync.Mutex
	versions map[module.Version]*modtest.Version
	queries  map[module.Version]string // a query, in Version, and what it means
	noMod    map[module.Version]bool
	faults   map[string]string        // how a kind of question fails; "" is every kind
	gates    map[string]chan struct{} // a kind of question waits until it is closed
	asked    []string                 // kinds of questions, "upstream.info"
	heard    []string                 // every word that reached it
	vias     []string                 // the Via header of each question
	sums     sumDB                    // that a SumDBUpstream passes on to
}

// NewSource returns a source without versions; name is "vcs" or "upstream".
func NewSource(t testing.TB, name string) *Source {
	return &Source{
		t:        t,
		Name:     name,
		versions: map[module.Version]*modtest.Version{},
		queries:  map[module.Version]string{},
		noMod:    map[module.Version]bool{},
		faults:   map[string]string{},
		gates:    map[string]chan struct{}{},
	}
}

// Add makes a version exist; files are NAME, CONTENT, ….
func (f *Source) Add(m module.Version, files ...string) *modtest.Version {
	v := NewVersion(f.t, m, files...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.versions[m] = v
	return v
}

// NewVersion makes a version of two files, or of those given.
func NewVersion(t testing.TB, m module.Version, files ...string) *modtest.Version {
	content := map[string]string{"go.mod": "module " + m.Path + "\n", "a.go": "package a // " + m.String() + "\n"}
	for i := 0; i+1 < len(files); i += 2 {
		content[files[i]] = files[i+1]
	}
	return modtest.NewVersion(t, m.Path, m.Version, content)
}

// Forget makes a version unknown again.
func (f *Source) Forget(m module.Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.versions, m)
}

// HideMod makes a version one whose .mod the source does not have.
func (f *Source) HideMod(m module.Version) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.noMod[m] = true
}

// SetQuery says which version a query of a module means, "latest" included.
func (f *Source) SetQuery(path, query, version string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queries[module.Version{Path: path, Version: query}] = version
}

// Version returns a version that was added, or nil.
func (f *Source) Version(m module.Version) *modtest.Version {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.versions[m]
}

// Note counts a question that another fake has received for this source.
func (f *Source) Note(question, word string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, question)
	f.heard = append(f.heard, word)
}

// Heard returns every module, version, query and path that reached the source.
func (f *Source) Heard() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.heard)
}

// Vias returns the Via header of each question.
func (f *Source) Vias() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.vias)
}

// Reset forgets the questions so far.
func (f *Source) Reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked, f.heard, f.vias = nil, nil, nil
}

// Fail makes one kind of question fail, or all kinds if it is "". If how is "", they
// succeed again.
func (f *Source) Fail(kind, how string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults[kind] = how
}

// Gate makes one kind of question wait until the returned function is called.
func (f *Source) Gate(kind string) (open func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	gate := make(chan struct{})
	f.gates[kind] = gate
	return sync.OnceFunc(func() { close(gate) })
}

// Take returns the questions since the last take, sorted.
func (f *Source) Take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	slices.Sort(asked)
	return asked
}

// question counts a question, waits at its gate, and fails it. The caller handles the
// failures that concern contents.
func (f *Source) question(ctx context.Context, kind string, m module.Version) (how string, err error) {
	f.mu.Lock()
	f.asked = append(f.asked, f.Name+"."+kind)
	f.heard = append(f.heard, m.String())
	f.vias = append(f.vias, athens.RequestInfoFrom(ctx).Via)
	how = f.faults[kind]
	if how == "" {
		how = f.faults[""]
	}
	gate := f.gates[kind]
	f.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	return how, Failure(ctx, f.Name, how, m)
}

// Failure returns the error of a source that fails in that way; nil if how is about
// contents, or "".
func Failure(ctx context.Context, source, how string, m module.Version) error {
	switch how {
	case "down":
		return &athens.UnavailableError{Source: source, Err: errors.New("connection refused")}
	case "busy":
		return &athens.UnavailableError{Source: source, RetryAfter: 6500 * time.Millisecond, Err: errors.New("429 Too Many Requests")}
	case "busy-long":
		return &athens.UnavailableError{Source: source, RetryAfter: 2 * time.Minute, Err: errors.New("429 Too Many Requests")}
	case "slow":
		return &athens.UnavailableError{Source: source, Err: context.DeadlineExceeded}
	case "missing":
		return &athens.MissingError{Path: m.Path, Query: m.Version, Err: errors.New("no such tag")}
	case "forbidden":
		return &athens.BlockedError{Path: m.Path, Version: m.Version, Reason: "the registry says no"}
	case "removed":
		return &athens.BlockedError{Path: m.Path, Version: m.Version, Reason: "by the upstream", Removed: true}
	case "invalid":
		return &athens.InvalidError{Path: m.Path, Version: m.Version, Err: errors.New("that is HTML")}
	case "loop":
		return &athens.InvalidError{Path: m.Path, Version: m.Version, Err: &protocol.LoopError{Via: "1.1 a, 1.1 b"}}
	case "socket": // a lost ssh agent
		return &fs.PathError{Op: "dial", Path: "/run/ssh-agent.sock", Err: fs.ErrNotExist}
	case "missing-outage": // an outage that something missing caused
		return &athens.UnavailableError{Source: source, Err: &athens.MissingError{Path: m.Path, Err: errors.New("no such repository")}}
	case "odd":
		return errors.New("exit status 128")
	case "secret":
		return errors.New(`Get "https://robot:s3cret@corp.test/x": refused; https://robot@corp.test:s3cret@corp.test`)
	case "noise":
		return fmt.Errorf("%s\r\nSet-Cookie: a=b\x00\x1b[31m\u202e %s", m.Path, strings.Repeat("far too long ", 9999))
	case "panic":
		panic("the " + source + " broke")
	case "hang":
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return nil
}

// Versions answers with the versions that were added, or fails as "list".
func (f *Source) Versions(ctx context.Context, path string) ([]string, error) {
	if how, err := f.question(ctx, "list", module.Version{Path: path}); err != nil {
		return nil, err
	} else if how == "empty" {
		return []string{}, nil
	} else if how == "garbage" {
		return []string{"v1.0.0\nv6.6.6", "../../etc/passwd", "<html>", "v1", "v1.0.0+meta", ""}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	known, versions := false, []string{}
	for m := range f.versions {
		if m.Path == path {
			known = true
			if !module.IsPseudoVersion(m.Version) {
				versions = append(versions, m.Version)
			}
		}
	}
	if !known {
		return nil, &athens.MissingError{Path: path, Err: errors.New("no such repository")}
	}
	semver.Sort(versions)
	return versions, nil
}

// Resolve answers a query, or fails as "latest" or "query".
func (f *Source) Resolve(ctx context.Context, path, query string) (*athens.Info, error) {
	kind := "query"
	if query == "latest" {
		kind = "latest"
	}
	m := module.Version{Path: path, Version: query}
	how, err := f.question(ctx, kind, m)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	version, ok := f.queries[m]
	if kind == "latest" && !ok {
		for _, v := range slices.SortedFunc(maps.Keys(f.versions), func(a, b module.Version) int { return semver.Compare(a.Version, b.Version) }) {
			if v.Path == path {
				version, ok = v.Version, true
			}
		}
	}
	switch {
	case how == "garbage":
		return &athens.Info{Version: "../../etc/passwd"}, nil
	case how == "nothing":
		return nil, nil
	case !ok:
		return nil, &athens.MissingError{Path: path, Query: query, Err: errors.New("unknown revision")}
	}
	return f.info(f.versions[module.Version{Path: path, Version: version}])
}

// info returns a version's .info, with the commit if the source is version control.
func (f *Source) info(v *modtest.Version) (*athens.Info, error) {
	var info athens.Info
	if err := json.Unmarshal(v.Info, &info); err != nil {
		return nil, err
	}
	if f.Name == "vcs" {
		info.Origin = &athens.Origin{VCS: "git", URL: "https://git.test/" + v.Path, Hash: fmt.Sprintf("%x", v.Sum+v.GoModSum)[:40]}
	}
	return &info, nil
}

// Fetch returns a version. Version control can fail as "fetch"; the files of the content
// fail as "info", "mod" and "zip".
func (f *Source) Fetch(ctx context.Context, m module.Version) (athens.Content, error) {
	if f.Name == "vcs" { // an upstream asks nothing yet
		if _, err := f.question(ctx, "fetch", m); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.versions[m]
	if v == nil && f.Name == "vcs" {
		return nil, &athens.MissingError{Path: m.Path, Query: m.Version, Err: errors.New("no such tag")}
	}
	return &content{f, m, v}, nil
}

// content is a version of a Source, which may lack it.
type content struct {
	f *Source
	m module.Version
	v *modtest.Version
}

func (c *content) question(ctx context.Context, kind string) (string, error) {
	how, err := c.f.question(ctx, kind, c.m)
	if err == nil && c.v == nil {
		err = &athens.MissingError{Path: c.m.Path, Query: c.m.Version, Err: errors.New("404 Not Found")}
	}
	return how, err
}

func (c *content) Info(ctx context.Context) (*athens.Info, error) {
	how, err := c.question(ctx, "info")
	if err != nil || how == "nothing" {
		return nil, err
	}
	info, err := c.f.info(c.v)
	switch how {
	case "other-version":
		info.Version = "v9.9.9"
	case "other-time":
		info.Time = info.Time.Add(time.Hour)
	case "commit-a", "commit-b":
		info.Origin = &athens.Origin{Hash: how}
	case "huge":
		info.Origin = &athens.Origin{URL: strings.Repeat("x", 2<<20)}
	}
	return info, err
}

func (c *content) Mod(ctx context.Context) ([]byte, error) {
	how, err := c.question(ctx, "mod")
	if err != nil {
		return nil, err
	}
	c.f.mu.Lock()
	none := c.f.noMod[c.m]
	c.f.mu.Unlock()
	switch {
	case none:
		return nil, &athens.MissingError{Path: c.m.Path, Query: c.m.Version, Err: errors.New("410 Gone")}
	case how == "text":
		return []byte("<html>please log in</html>"), nil
	case how == "huge":
		return append(bytes.Clone(c.v.Mod), bytes.Repeat([]byte("// filler\n"), 2<<20)...), nil
	}
	return c.v.Mod, nil
}

func (c *content) Zip(ctx context.Context, w io.Writer) error {
	how, err := c.question(ctx, "zip")
	if err != nil {
		return err
	}
	zip := c.v.Zip
	switch how {
	case "truncated": // it ends early, and says nothing
		zip = zip[:len(zip)/2]
	case "cut": // it ends early, and says so
		_, _ = w.Write(zip[:len(zip)/2])
		return &athens.UnavailableError{Source: c.f.Name, Err: io.ErrUnexpectedEOF}
	case "text":
		zip = []byte("<html>please log in</html>")
	case "huge": // and who sends it does not care that nobody wants more
		for range 64 {
			_, _ = w.Write(make([]byte, 64<<10))
		}
		return nil
	case "other-mod":
		zip = NewVersion(c.f.t, c.m, "go.mod", "module "+c.m.Path+"\n\nrequire evil.test/x v1.0.0\n").Zip
	case "other-code":
		zip = NewVersion(c.f.t, c.m, "a.go", "package evil\n").Zip
	case "other-version":
		zip = NewVersion(c.f.t, module.Version{Path: c.m.Path, Version: "v1.9.9"}).Zip
	}
	_, err = w.Write(zip)
	return err
}
