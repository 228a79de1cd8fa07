package osv_test

import (
	"archive/zip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/osv"
)

const sample = `{"id":"GO-2026-0001","aliases":["GHSA-xxxx","CVE-2026-1"],"summary":"Bad things\nhappen",
"affected":[{"package":{"name":"example.com/Mod","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[
 {"introduced":"0"},{"fixed":"1.2.3"},{"introduced":"1.3.0"},{"last_affected":"1.4.0"},{"introduced":"2.0.0"}]}]},
 {"package":{"name":"stdlib","ecosystem":"Go"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}]}]}`

func read(t testing.TB, records ...string) *osv.DB {
	tree := fstest.MapFS{"index/db.json": {Data: []byte("{}")}, ".git/a.json": {Data: []byte("x")}, "README": {Data: []byte("x")}}
	for i, r := range records {
		tree[fmt.Sprintf("ID/%d.json", i)] = &fstest.MapFile{Data: []byte(r)}
	}
	db, err := osv.Read(tree)
	require.NoError(t, err)
	return db
}

func find(db *osv.DB, path, version string) string {
	var all []string
	for _, f := range db.Find(module.Version{Path: path, Version: version}) {
		all = append(all, f.String())
	}
	return strings.Join(all, "; ")
}

func TestFind(t *testing.T) {
	about := func(name, rest string) string {
		return `{"id":"X-` + name + `","affected":[{"package":{"name":"` + name + `","ecosystem":"Go"}` + rest + `}]}`
	}
	db := read(t, sample,
		about("all.test/m", ""),
		about("named.test/m", `,"versions":["1.0.0","2.0.0"]`),
		about("git.test/m", `,"ranges":[{"type":"GIT","events":[{"introduced":"abc"}]}]`),
		about("odd.test/m", `,"ranges":[{"type":"SEMVER","events":[{"introduced":"next"},{"fixed":"soon"}]}]`),
		about("order.test/m", `,"ranges":[{"type":"SEMVER","events":[{"fixed":"1.5.0"},{"introduced":"1.2.0"}]},{"type":"SEMVER","events":[{"introduced":"1.4.0"},{"fixed":"1.6.0"}]}]`),
		strings.Replace(about("gone.test/m", ""), "{", `{"withdrawn":"2026-01-01T00:00:00Z",`, 1),
		strings.Replace(about("npm.test/m", ""), "Go", "npm", 1),
	)
	assert.Equal(t, 6, db.Len())
	const bad = "GO-2026-0001 (CVE-2026-1): Bad things happen: "
	for _, c := range []struct{ path, version, want string }{
		{"example.com/Mod", "v1.2.2", bad + "fixed in v1.2.3"},
		{"example.com/mod", "v0.0.0-20200101000000-abcdefabcdef", bad + "fixed in v1.2.3"},
		{"example.com/Mod", "v1.2.3-0.20200101000000-abcdefabcdef", bad + "fixed in v1.2.3"}, // before v1.2.3
		{"example.com/Mod", "v1.2.4-0.20200101000000-abcdefabcdef", ""},
		{"example.com/Mod", "v1.2.3", ""},
		{"example.com/Mod", "v1.3.0", bad + "no version fixes it"},
		{"example.com/Mod", "v1.4.0", bad + "no version fixes it"},
		{"example.com/Mod", "v1.4.1", ""},
		{"example.com/Mod", "v2.1.0+incompatible", bad + "no version fixes it"},
		{"example.com/Mod/v2", "v2.1.0", ""},
		{"example.com/Mod", "main", ""},
		{"example.com/Mod", "", ""},
		{"all.test/m", "v9.0.0", "X-all.test/m: no version fixes it"},
		{"named.test/m", "v2.0.0+incompatible", "X-named.test/m: no version fixes it"},
		{"named.test/m", "v1.0.1", ""},
		{"git.test/m", "v1.0.0", ""},
		{"odd.test/m", "v1.0.0", "X-odd.test/m: no version fixes it"},
		{"order.test/m", "v1.1.0", ""},
		{"order.test/m", "v1.4.0", "X-order.test/m: fixed in v1.6.0"},
		{"order.test/m", "v1.5.5", "X-order.test/m: fixed in v1.6.0"},
		{"gone.test/m", "v1.0.0", ""},
		{"npm.test/m", "v1.0.0", ""},
		{"stdlib", "v1.0.0", ""},
	} {
		assert.Equal(t, c.want, find(db, c.path, c.version), "%s@%s", c.path, c.version)
	}
	assert.Empty(t, (*osv.DB)(nil).Find(module.Version{Path: "a.test", Version: "v1.0.0"}))
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "all.zip")
	f, err := os.Create(name)
	require.NoError(t, err)
	w := zip.NewWriter(f)
	entry, err := w.Create("GO-2026-0001.json")
	require.NoError(t, err)
	_, err = entry.Write([]byte(sample))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
	db, err := osv.Open(name)
	require.NoError(t, err)
	assert.NotEmpty(t, find(db, "example.com/Mod", "v1.0.0"))

	write := func(text string) { require.NoError(t, os.WriteFile(filepath.Join(dir, "a.json"), []byte(text), 0o600)) }
	write(sample)
	db, err = osv.Open(dir)
	require.NoError(t, err)
	assert.Equal(t, 1, db.Len())
	for text, want := range map[string]string{
		"{":                        "a.json: it is no OSV record",
		"{}":                       "a.json: it is no OSV record: it has no id",
		`{"id":"X"}`:               "no advisory about a Go module",
		strings.Repeat(" ", 5<<20): "a.json: more than 4194304 bytes",
	} {
		write(text)
		_, err = osv.Open(dir)
		assert.ErrorContains(t, err, want)
	}
	_, err = osv.Open(filepath.Join(dir, "a.json"))
	assert.ErrorContains(t, err, "neither a folder nor a zip")
	_, err = osv.Open(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzRecord(f *testing.F) {
	f.Add(sample, "example.com/Mod", "v1.2.0")
	f.Add(`{"id":"a\n","affected":[{"package":{"ecosystem":"Go","name":"a.test/m"},"versions":["1","v1.0.0"]}]}`, "a.test/m", "v1.0.0")
	f.Fuzz(func(t *testing.T, text, path, version string) {
		db, err := osv.Read(fstest.MapFS{"a.json": {Data: []byte(text)}})
		if err != nil {
			return
		}
		for _, found := range db.Find(module.Version{Path: path, Version: version}) {
			if s := found.String(); strings.ContainsAny(s, "\n\r\x00\x1b") || len(s) > 1000 {
				t.Errorf("odd text %q", s)
			}
		}
	})
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "osv-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "GO-2026-0001.json"), []byte(sample), 0o600); err != nil {
		panic(err)
	}
	db, err := osv.Open(dir)
	if err != nil {
		panic(err)
	}
	for _, found := range db.Find(module.Version{Path: "example.com/Mod", Version: "v1.2.0"}) {
		fmt.Println(found)
	}
	// Output:
	// GO-2026-0001 (CVE-2026-1): Bad things happen: fixed in v1.2.3
}
