package rules_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/redirect/rules"
)

// advisory is a record that a module has a flaw in all versions before fixed.
func advisory(id, path, fixed string) string {
	return fmt.Sprintf(`{"id":%q,"aliases":["CVE-%s"],"affected":[{"package":{"name":%q,"ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":%q}]}]}]}`, id, id, path, fixed)
}

// vulndb is a folder with a database, and rules.txt beside it.
func vulndb(t testing.TB, text string, records ...string) (dir string) {
	dir = t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "db", "ID"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "rules.txt"), []byte(text), 0o600))
	for i, r := range records {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "db", "ID", fmt.Sprintf("%d.json", i)), []byte(r), 0o600))
	}
	return dir
}

func TestAdvisories(t *testing.T) {
	dir := vulndb(t, "advisories db # the CVEs\nallow example.com/ok@v1.1.0\nblock example.com/ok <1.0.0 # old\n",
		advisory("GO-1", "example.com/m", "1.2.0"), advisory("GO-2", "example.com/ok", "2.0.0"))
	r, err := rules.Read(filepath.Join(dir, "rules.txt"))
	require.NoError(t, err)
	for _, c := range []struct{ path, version, blocked, advisory string }{
		{"example.com/m", "v1.1.9", "known vulnerability GO-1 (CVE-GO-1): fixed in v1.2.0 (rules.txt:1)", ""},
		{"Example.com/M", "v1.1.9", "known vulnerability GO-1 (CVE-GO-1): fixed in v1.2.0 (rules.txt:1)", ""},
		{"example.com/m", "v1.2.0", "", ""},
		{"example.com/m", "", "", ""},
		{"example.com/m", "v1", "", ""},
		{"example.com/ok", "v1.1.0", "", "known vulnerability GO-2 (CVE-GO-2): fixed in v2.0.0 (rules.txt:1)"},
		{"example.com/ok", "v1.1.1", "known vulnerability GO-2 (CVE-GO-2): fixed in v2.0.0 (rules.txt:1)", ""},
		{"example.com/ok", "v0.1.0", "old (rules.txt:3)", ""},
		{"example.com/other", "v1.0.0", "", ""},
	} {
		route, err := r.Route(t.Context(), module.Version{Path: c.path, Version: c.version})
		require.NoError(t, err)
		assert.Equal(t, c.blocked, route.Blocked, "%s@%s", c.path, c.version)
		assert.Equal(t, c.advisory, route.Advisory, "%s@%s", c.path, c.version)
	}
	assert.Equal(t, `example.com/m@v1.1.9 is blocked
public: no line says otherwise
blocked: rules.txt:1: advisories db # the CVEs
known vulnerability GO-1 (CVE-GO-1): fixed in v1.2.0 (rules.txt:1)
no cooldown: no line says otherwise
`, r.Explain(module.Version{Path: "example.com/m", Version: "v1.1.9"}))

	_, err = parse(t, "advisories db").Route(t.Context(), module.Version{Path: "a.test/m"})
	assert.ErrorContains(t, err, "rules.Read")
	for text, want := range map[string]string{
		"advisories":                ":1:11: advisories needs a folder",
		"advisories # db":           ":1:12: advisories needs a folder",
		"advisories db warm":        `:1:15: advisories can only warn, not "warm"`,
		"advisories db warn really": ":1:20: unexpected",
	} {
		_, err := rules.Parse("rules.txt", strings.NewReader(text))
		assert.ErrorContains(t, err, want)
	}
}

// A database that changes is read again, and a bad one leaves all as it was.
func TestAdvisoriesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := vulndb(t, "advisories db warn\n", advisory("GO-1", path, "1.2.0"))
		var log bytes.Buffer
		f, err := rules.Open(filepath.Join(dir, "rules.txt"), &rules.Options{Private: "none", Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, err)
		defer f.Close()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go f.Run(ctx)
		known := func(v string) bool {
			route, err := f.Route(t.Context(), version(v))
			require.NoError(t, err)
			assert.Empty(t, route.Blocked)
			return route.Advisory != ""
		}
		assert.True(t, known("v1.1.0"))
		assert.False(t, known("v1.3.0"))
		later := time.Now()
		add := func(name, text string) {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "db", "ID", name), []byte(text), 0o600))
			later = later.Add(time.Hour) // the clock of the disk is none of the bubble's
			require.NoError(t, os.Chtimes(filepath.Join(dir, "db", "ID"), later, later))
			time.Sleep(5 * time.Second)
			synctest.Wait()
		}
		add("GO-2.json", advisory("GO-2", path, "1.4.0"))
		assert.True(t, known("v1.3.0"))
		add("GO-3.json", "{")
		assert.Contains(t, log.String(), "GO-3.json: it is no OSV record")
		assert.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), "once, not at each look")
		assert.True(t, known("v1.3.0"))
		add("GO-3.json", advisory("GO-3", path, "1.6.0"))
		assert.True(t, known("v1.5.0"))
	})
	dir := vulndb(t, "advisories none\n")
	_, err := rules.Open(filepath.Join(dir, "rules.txt"), nil)
	assert.ErrorContains(t, err, "rules.txt:1: advisories:")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// tenThousand are rules with as many advisories, or with none.
func tenThousand(b testing.TB, with bool) *rules.Rules {
	text := "private corp.test\nblock example.com/bad <1.0.0 # bad\n"
	if with {
		text += "advisories db\n"
	}
	dir := vulndb(b, text)
	var records strings.Builder
	for i := range 10_000 {
		records.Reset()
		records.WriteString(advisory(fmt.Sprintf("GO-%d", i), fmt.Sprintf("example.com/m%d", i), "1.2.0"))
		require.NoError(b, os.WriteFile(filepath.Join(dir, "db", "ID", fmt.Sprintf("%d.json", i)), []byte(records.String()), 0o600))
		if !with {
			break
		}
	}
	r, err := rules.Read(filepath.Join(dir, "rules.txt"))
	require.NoError(b, err)
	return r
}

func TestAdvisoriesDoNotAllocate(t *testing.T) {
	dir := vulndb(t, "advisories db\n", advisory("GO-1", "example.com/m", "1.2.0"))
	r, err := rules.Read(filepath.Join(dir, "rules.txt"))
	require.NoError(t, err)
	for _, m := range []module.Version{{Path: "example.com/some/module/v2", Version: "v2.3.4"}, {Path: "example.com/m", Version: "v1.2.0"}} {
		assert.Zero(t, testing.AllocsPerRun(100, func() { route(r, m) }), m)
	}
}

func BenchmarkAdvisories(b *testing.B) {
	for name, with := range map[string]bool{"None": false, "10000": true} {
		r := tenThousand(b, with)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				route(r, module.Version{Path: "example.com/some/module/v2", Version: "v2.3.4"})
			}
		})
	}
}
