package rules_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/redirect/rules"
)

const path = "example.com/m"

func version(v string) module.Version { return module.Version{Path: path, Version: v} }

// policed is a registry, its source, and rules that can be changed.
type policed struct {
	t       *testing.T
	file    string
	seen    string
	store   *athenstest.Store
	vcs     *athenstest.Source
	rules   *rules.File
	handler *athens.Handler
	log     bytes.Buffer
}

func newPoliced(t *testing.T, text string) *policed {
	dir := t.TempDir()
	p := &policed{t: t, file: filepath.Join(dir, "rules.txt"), seen: filepath.Join(dir, "seen"), store: athenstest.NewStore(t), vcs: athenstest.NewSource(t, "vcs")}
	p.write(text)
	p.start()
	return p
}

func (p *policed) write(text string) { require.NoError(p.t, os.WriteFile(p.file, []byte(text), 0o600)) }

// start starts the server, perhaps again.
func (p *policed) start() {
	p.stop()
	file, err := rules.Open(p.file, &rules.Options{Store: p.store, SeenDir: p.seen, Logger: slog.New(slog.NewTextHandler(&p.log, nil)), Info: p.info})
	require.NoError(p.t, err)
	h, err := athens.NewHandler(p.store, &athens.Options{Fetcher: p.vcs, Route: file.Route, Named: file.Seen, Private: "none", Prefetch: -1, ListTTL: -1, MissingTTL: -1})
	require.NoError(p.t, err)
	p.rules, p.handler = file, h
}

func (p *policed) info(ctx context.Context, m module.Version) (*athens.Info, error) {
	content, err := p.vcs.Fetch(ctx, m)
	if err != nil {
		return nil, err
	}
	return content.Info(ctx)
}

func (p *policed) stop() {
	if p.rules != nil {
		require.NoError(p.t, p.handler.Shutdown(p.t.Context()))
		require.NoError(p.t, p.rules.Close())
	}
}

// reload puts other rules into force.
func (p *policed) reload(text string) {
	p.write(text)
	require.NoError(p.t, p.rules.Reload())
}

// get asks for what stands behind the module's path.
func (p *policed) get(what string) (status int, body string, header http.Header) {
	p.t.Helper()
	w, cut := athenstest.Ask(p.t.Context(), p.handler, "/"+path+what)
	require.False(p.t, cut)
	return w.Code, w.Body.String(), w.Header()
}

// statuses are those of .info, .mod and .zip.
func (p *policed) statuses(v string) (all [3]int) {
	for i, ext := range []string{".info", ".mod", ".zip"} {
		all[i], _, _ = p.get("/@v/" + v + ext)
	}
	return all
}

var (
	open  = [3]int{200, 200, 200}
	young = [3]int{403, 200, 403}
	none  = [3]int{404, 404, 404}
)

func TestCooldown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoliced(t, "# none yet\n")
		p.vcs.Add(version("v1.0.0"))
		assert.Equal(t, open, p.statuses("v1.0.0"))
		time.Sleep(time.Hour)
		p.reload("cooldown 7d\n")
		assert.Equal(t, open, p.statuses("v1.0.0"), "it was held before")

		p.vcs.Add(version("v1.1.0"))
		p.vcs.SetQuery(path, "latest", "v1.1.0")
		p.vcs.SetQuery(path, "main", "v1.1.0")
		p.vcs.SetQuery(path, "v1", "v1.1.0")
		assert.Equal(t, none, p.statuses("v1.2.0"), "there is no such version")
		p.start() // the .info of a version that nobody has listed makes it seen
		assert.Equal(t, young, p.statuses("v1.1.0"))
		status, body, header := p.get("/@v/v1.1.0.info")
		assert.Equal(t, 403, status)
		assert.Contains(t, body, "younger than 7d: available on 2000-01-08 at 01:00 UTC (rules.txt:1)")
		assert.Equal(t, "604800", header.Get("Retry-After"))

		_, list, _ := p.get("/@v/list")
		assert.Equal(t, "v1.0.0\n", list)
		for _, query := range []string{"/@latest", "/@v/v1.info"} {
			status, body, _ = p.get(query)
			assert.Equal(t, 200, status, query)
			assert.Contains(t, body, `"v1.0.0"`, query)
		}
		status, body, header = p.get("/@v/main.info")
		assert.Equal(t, 403, status)
		assert.Contains(t, body, "2000-01-08")
		assert.NotEmpty(t, header.Get("Retry-After"))

		time.Sleep(7*24*time.Hour - time.Minute)
		p.start() // and remembers
		assert.Equal(t, young, p.statuses("v1.1.0"))
		p.reload("# the same cooldown, elsewhere\ncooldown 7d # a reason\n")
		assert.Equal(t, young, p.statuses("v1.1.0"))
		p.reload("cooldown 8d\n") // another one, but it was held under the first only for its .mod
		assert.Equal(t, young, p.statuses("v1.1.0"))
		p.reload("cooldown 7d\n")
		time.Sleep(2 * time.Minute)
		assert.Equal(t, open, p.statuses("v1.1.0"))
		_, list, _ = p.get("/@v/list")
		assert.Equal(t, "v1.0.0\nv1.1.0\n", list)
		p.stop()
	})
}

// A version that does not exist yet does not become older by being asked for, and one
// that was only listed does.
func TestCooldownCountsFromFirstSight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoliced(t, "cooldown 7d\n")
		p.vcs.Add(version("v1.0.0"))
		p.get("/@v/v1.1.0.info")
		p.get("/@v/list") // v1.0.0
		time.Sleep(8 * 24 * time.Hour)
		p.vcs.Add(version("v1.1.0"))
		assert.Equal(t, young, p.statuses("v1.1.0"))
		assert.Equal(t, open, p.statuses("v1.0.0"))
		p.stop()
	})
}

// A version that was named before a cooldown came in, and is fetched only afterwards, is
// held back by its age, also in the process that follows.
func TestCooldownOfNamedVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoliced(t, "# none yet\n")
		p.vcs.Add(version("v1.0.0"))
		p.vcs.Add(version("v1.1.0"))
		assert.Equal(t, open, p.statuses("v1.0.0"))
		_, list, _ := p.get("/@v/list")
		assert.Equal(t, "v1.0.0\nv1.1.0\n", list)
		time.Sleep(24 * time.Hour)
		p.reload("cooldown 7d\n")
		for range 2 {
			assert.Equal(t, open, p.statuses("v1.0.0"))
			assert.Equal(t, young, p.statuses("v1.1.0"))
			p.start()
		}
		time.Sleep(6 * 24 * time.Hour)
		assert.Equal(t, open, p.statuses("v1.1.0"), "it counts from when it was named")
		p.stop()
	})
}

func TestCooldownExceptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(30 * 365 * 24 * time.Hour) // the commits are of a time before
		p := newPoliced(t, "cooldown 7d\n")
		p.vcs.Add(version("v1.0.0"))
		p.vcs.Add(version("v1.0.1"))
		assert.Equal(t, young, p.statuses("v1.0.0"))
		for text, want := range map[string][3]int{
			"cooldown 7d\ncooldown 0 example.com\n":               open,
			"cooldown 0 example.com\ncooldown 7d\n":               young,
			"cooldown 7d other.test\n":                            open,
			"cooldown 7d Example.com/m\n":                         young, // in every spelling
			"cooldown 7d\nallow example.com/m@v1.0.0  # a fix\n":  open,
			"cooldown 7d\nallow example.com/m@v1.0.1\n":           young,
			"allow example.com/m@v1.0.0\ncooldown 7d\n":           young,
			"cooldown 7d\nblock *\nallow example.com\n":           young, // of another question
			"cooldown 7d\nblock *\nallow example.com/m@v1.0.0\n":  open,
			"cooldown 7d\ncooldown-by commit\n":                   open,
			"cooldown-by commit *\ncooldown-by seen\ncooldown 7d": young,
		} {
			p.reload(text)
			assert.Equal(t, want, p.statuses("v1.0.0"), text)
		}
		p.stop()
	})
}

// By their commits, listed versions that were never seen before have their ages, and a
// version of which nothing is known is young.
func TestCooldownByCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoliced(t, "cooldown 7d\ncooldown-by commit example.com\n")
		p.vcs.Add(version("v1.0.0")) // of a time to come
		_, list, _ := p.get("/@v/list")
		assert.Empty(t, list)
		assert.Equal(t, young, p.statuses("v1.0.0"))
		time.Sleep(30 * 365 * 24 * time.Hour)
		p.vcs.Add(version("v1.1.0"))
		p.vcs.Add(version("v1.2.0"))
		p.vcs.SetQuery(path, "latest", "v1.2.0")
		_, list, _ = p.get("/@v/list")
		assert.Equal(t, "v1.0.0\nv1.1.0\nv1.2.0\n", list)
		_, latest, _ := p.get("/@latest")
		assert.Contains(t, latest, "v1.2.0")
		assert.Equal(t, open, p.statuses("v1.1.0"))
		p.stop()
	})
}

// Everything that an allow-list lacks is refused, and a version can be added to it.
func TestOnly(t *testing.T) {
	p := newPoliced(t, "only other.test # ask the platform team\nonly good.test, fine.test\n")
	p.vcs.Add(version("v1.0.0"))
	for _, what := range []string{"/@v/list", "/@latest", "/@v/main.info", "/@v/v1.0.0.info", "/@v/v1.0.0.mod", "/@v/v1.0.0.zip"} {
		status, body, _ := p.get(what)
		assert.Equal(t, 403, status, what)
		assert.Contains(t, body, "not in the list of allowed modules, rules.txt:2", what)
	}
	assert.Empty(t, p.vcs.Heard())
	p.reload("only other.test # ask us\nonly example.com\n")
	assert.Equal(t, open, p.statuses("v1.0.0"))
	p.vcs.SetQuery(path, "main", "v1.0.0")
	status, _, _ := p.get("/@v/main.info")
	assert.Equal(t, 200, status, "a query is no module outside of the list")
	for text, want := range map[string][3]int{
		"only other.test # ask us\nallow example.com/m@v1.0.0 # fix": open,
		"only other.test # ask us\nallow example.com/m >=1.0.0":      open,
		"only other.test\nallow example.com/m >=1.0.1":               {403, 403, 403},
		"allow example.com\nonly other.test":                         {403, 403, 403},
		"only example.com\nblock example.com/m <1.1.0":               {200, 200, 403},
		"block example.com/m <1.1.0\nonly example.com":               {200, 200, 403},
	} {
		p.reload(text)
		assert.Equal(t, want, p.statuses("v1.0.0"), text)
	}
	p.reload("only other.test\nallow example.com/m@v1.0.0")
	p.vcs.Add(version("v1.1.0"))
	_, list, _ := p.get("/@v/list")
	assert.Equal(t, "v1.0.0\n", list)
	p.stop()
}

// Rules come into force when the file changes, and only whole and right ones.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoliced(t, "block example.com # first\n")
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan struct{})
		go func() { defer close(ran); p.rules.Run(ctx) }()
		reason := func() string {
			route, err := p.rules.Route(t.Context(), version("v1.0.0"))
			require.NoError(t, err)
			return route.Blocked
		}
		for _, c := range []struct{ text, want, log string }{
			{"block example.com # second\n", "second (rules.txt:1)", "rules reloaded"},
			{"block example.com # third\nblock b[\n", "second (rules.txt:1)", `rules.txt:2:7: bad pattern`},
			{"", "second (rules.txt:1)", "has become empty"},
			{"# none\n", "", "rules reloaded"},
		} {
			p.log.Reset()
			p.write(c.text)
			time.Sleep(2500 * time.Millisecond)
			synctest.Wait()
			assert.Equal(t, c.want, reason(), c.text)
			assert.Contains(t, p.log.String(), c.log)
			assert.Equal(t, 1, strings.Count(p.log.String(), "\n"), "it is said once")
		}
		require.NoError(t, os.Remove(p.file))
		assert.Error(t, p.rules.Reload())
		cancel()
		<-ran
		p.stop()
	})
}

func TestOpenRefuses(t *testing.T) {
	_, err := rules.Open(filepath.Join(t.TempDir(), "none"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	file := filepath.Join(t.TempDir(), "rules")
	require.NoError(t, os.WriteFile(file, []byte("cooldown 7d\n"), 0o600))
	_, err = rules.Open(file, &rules.Options{MaxSeen: -1})
	require.ErrorContains(t, err, "MaxSeen is negative")
	f, err := rules.Open(file, &rules.Options{Private: "corp.test"})
	require.NoError(t, err)
	assert.Equal(t, "corp.test", f.PrivatePatterns())
	require.NoError(t, f.Close())
}

// What is known of ages has a bound, survives a torn record, and is shared by processes.
func TestMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rules")
	require.NoError(t, os.WriteFile(file, []byte("cooldown 1s\n"), 0o600))
	opts := &rules.Options{SeenDir: t.TempDir(), MaxSeen: 100}
	first, err := rules.Open(file, opts)
	require.NoError(t, err)
	recent := filepath.Join(opts.SeenDir, "recent")
	list := func(n, m int) (all []athens.Info) {
		for i := n; i < m; i++ {
			all = append(all, athens.Info{Version: "v1.0." + string(rune('0'+i%10)) + "-" + strings.Repeat("a", i/10+1)})
		}
		return all
	}
	first.Seen(t.Context(), path, list(0, 40))
	f, err := os.OpenFile(recent, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("torn")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	second, err := rules.Open(file, opts)
	require.NoError(t, err)
	second.Seen(t.Context(), path, list(0, 45))
	at, err := os.Stat(recent)
	require.NoError(t, err)
	assert.EqualValues(t, 46*20, at.Size(), "40 of one, a torn one, 5 of the other")
	for i := range 20 {
		second.Seen(t.Context(), path, list(45+20*i, 65+20*i))
	}
	for _, name := range []string{"recent", "previous"} {
		at, err = os.Stat(filepath.Join(opts.SeenDir, name))
		require.NoError(t, err)
		assert.LessOrEqual(t, at.Size(), int64(75*20), name)
	}
	require.NoError(t, first.Close())
	require.NoError(t, second.Close())
	require.NoError(t, second.Close())
}
