package protocoltest_test

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
)

// upload is a version of corp.example/m as somebody publishes it.
func upload(t *testing.T, version string, files ...string) *modtest.Version {
	all := map[string]string{"go.mod": "module corp.example/m\n\ngo 1.21\n", "m.go": "package m\n"}
	for i := 0; i < len(files); i += 2 {
		all[files[i]] = files[i+1]
	}
	return modtest.NewVersion(t, "corp.example/m", version, all)
}

// publishing is a handler where corp.example is published, with a ledger.
func publishing(t *testing.T, opts athens.Options) *ledgered {
	opts.Published = "corp.example"
	g := newLedgered(t, opts)
	g.vcs.Add(module.Version{Path: "corp.example/m", Version: "v1.9.0"}) // nobody asks for it
	return g
}

func (g *ledgered) publish(v *modtest.Version) (sums []string, created bool, err error) {
	return g.Publish(g.t.Context(), v.Version, bytes.NewReader(v.Zip))
}

// What was published is served at once, recorded, never changed, and asked of no source.
func TestPublish(t *testing.T) {
	g := publishing(t, athens.Options{})
	g.ask(http.StatusNotFound, "/corp.example/m/@v/list")
	g.ask(http.StatusNotFound, "/corp.example/m/@latest")
	g.ask(http.StatusNotFound, "/corp.example/m/@v/v1.0.0.info")
	v := upload(t, "v1.0.0")
	sums, created, err := g.publish(v)
	require.NoError(t, err)
	assert.True(t, created)
	assert.Equal(t, []string{"corp.example/m v1.0.0 " + v.Sum, "corp.example/m v1.0.0/go.mod " + v.GoModSum}, sums)
	assert.Equal(t, int64(1), g.Stats().LedgerRecords)
	assert.Equal(t, "v1.0.0\n", g.ask(http.StatusOK, "/corp.example/m/@v/list"))
	for _, path := range []string{"@latest", "@v/v1.info", "@v/v1.0.0.info"} {
		assert.Contains(t, g.ask(http.StatusOK, "/corp.example/m/"+path), `"Version":"v1.0.0"`)
	}
	assert.Equal(t, string(v.Mod), g.ask(http.StatusOK, "/corp.example/m/@v/v1.0.0.mod"))
	assert.Equal(t, string(v.Zip), g.ask(http.StatusOK, "/corp.example/m/@v/v1.0.0.zip"))
	assert.Contains(t, g.ask(http.StatusOK, lookup+"corp.example/m@v1.0.0"), v.Sum)

	again, created, err := g.publish(v)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Equal(t, sums, again)
	for name, other := range map[string]*modtest.Version{
		"zip": upload(t, "v1.0.0", "m.go", "package other\n"), "mod": upload(t, "v1.0.0", "go.mod", "module corp.example/m\n\ngo 1.22\n"),
	} {
		_, _, err = g.publish(other)
		conflict, ok := errors.AsType[*athens.ConflictError](err)
		require.True(t, ok, "%s: %v", name, err)
		assert.Equal(t, name, conflict.File.String())
		assert.NotEqual(t, conflict.Held, conflict.Got)
	}
	assert.Equal(t, string(v.Zip), g.ask(http.StatusOK, "/corp.example/m/@v/v1.0.0.zip"))
	g.ask(http.StatusNotFound, "/corp.example/m/@v/main.info")
	g.ask(http.StatusNotFound, "/corp.example/m/@v/v1.9.0.zip")
	assert.ErrorAs(t, g.Fill(t.Context(), athens.Fill{Module: module.Version{Path: "corp.example/m", Version: "v1.9.0"}}), new(*athens.MissingError))
	assert.Empty(t, g.vcs.Take())
}

// What may not be published is refused before a byte of it is read.
func TestMayNotPublish(t *testing.T) {
	g := publishing(t, athens.Options{Route: func(_ context.Context, m module.Version) (athens.Route, error) {
		if m.Path == "corp.example/bad" {
			return athens.Route{Blocked: "no"}, nil
		}
		return athens.Route{}, nil
	}})
	removed := upload(t, "v1.0.0")
	_, _, err := g.publish(removed)
	require.NoError(t, err)
	require.NoError(t, g.store.Remove(t.Context(), removed.Version, "leaks a key"))
	for ref, want := range map[string]struct {
		status int
		says   string
	}{
		"corp.example/m v1":                                 {400, "not canonical"},
		"corp.example/m v1.0.0+meta":                        {400, "not canonical"},
		"corp.example/m main":                               {400, "not canonical"},
		"corp.example/m ":                                   {400, "not canonical"},
		"corp.example/m v2.0.0":                             {400, "published: invalid version: should be v0 or v1"},
		"corp.example/m/v2 v1.0.0":                          {400, "published: invalid version: should be v2"},
		"corp.example/m v2.0.0+incompatible":                {400, "+incompatible is for"},
		"corp.example/m v0.0.0-20200101000000-abcdefabcdef": {400, "pseudo-version"},
		"corp.example/../m v1.0.0":                          {400, "malformed"},
		"other.example/m v1.0.0":                            {403, "not one of those that are published here"},
		"corp.example/bad v1.0.0":                           {403, "no"},
		"corp.example/m v1.0.0":                             {410, "leaks a key"},
	} {
		path, version, _ := strings.Cut(ref, " ")
		_, _, err := g.Publish(t.Context(), module.Version{Path: path, Version: version}, unread{t})
		status, _ := athens.Status(err)
		assert.Equal(t, want.status, status, "%s: %v", ref, err)
		assert.ErrorContains(t, err, want.says, ref)
	}
	assert.Empty(t, g.vcs.Take())
}

type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the upload was read")
	return 0, io.EOF
}

// What is no zip of the version is not stored.
func TestInvalidUpload(t *testing.T) {
	g := publishing(t, athens.Options{MaxZipBytes: 64 << 10})
	m := module.Version{Path: "corp.example/m", Version: "v1.0.0"}
	good := upload(t, "v1.0.0")
	packed := func(files ...string) []byte {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for i := 0; i < len(files); i += 2 {
			w, err := z.Create(files[i])
			require.NoError(t, err)
			_, err = io.WriteString(w, files[i+1])
			require.NoError(t, err)
		}
		require.NoError(t, z.Close())
		return b.Bytes()
	}
	const root, mod = "corp.example/m@v1.0.0/", "module corp.example/m\n"
	broken := bytes.Clone(good.Zip)
	broken[30+len(root)+len("go.mod")+1] ^= 1 // behind the header of the first file
	for says, body := range map[string][]byte{
		"not a zip":            []byte("hello"),
		"has no corp.example/": packed(root+"m.go", "package m\n"),
		"zip has \"corp.example/m@v1.0.1/go.mod\" outside": packed("corp.example/m@v1.0.1/go.mod", mod),
		"of the module \"corp.example/other\"":             packed(root+"go.mod", "module corp.example/other\n"),
		"no module line":                                   packed(root+"go.mod", "go 1.21\n"),
		"go.mod:1":                                         packed(root+"go.mod", "module \"corp.example/m\n"),
		"not allowed in a module":                          packed(root+"go.mod", mod, root+"../x", ""),
		"is there twice":                                   packed(root+"go.mod", mod, root+"go.mod", mod),
		"unpacks to more than":                             packed(root+"go.mod", mod, root+"m.go", strings.Repeat("x", 70<<10)),
		"invalid: ":                                        broken,
		"invalid: not a zip: ":                             nil,
	} {
		_, _, err := g.Publish(t.Context(), m, bytes.NewReader(body))
		assert.ErrorContains(t, err, says)
		assert.ErrorAs(t, err, new(*athens.InvalidError), says)
	}
	_, _, err := g.Publish(t.Context(), m, strings.NewReader(strings.Repeat("x", 65<<10)))
	status, _ := athens.Status(err)
	assert.Equal(t, http.StatusRequestEntityTooLarge, status, err)
	_, _, err = g.Publish(t.Context(), m, io.MultiReader(bytes.NewReader(good.Zip), io.LimitReader(broke{}, 1)))
	assert.ErrorIs(t, err, errBroke)
	assert.Empty(t, athenstest.Held(t, g.store, m))
	assert.Zero(t, g.Stats().LedgerRecords)
	g.ask(http.StatusNotFound, "/corp.example/m/@v/list")
}

var errBroke = errors.New("the connection broke")

type broke struct{}

func (broke) Read([]byte) (int, error) { return 0, errBroke }

// A version whose zip is not stored yet is absent, whatever is asked, and the same upload
// completes it.
func TestPublishedWhole(t *testing.T) {
	for _, op := range []string{"put", "commit", "stage", "write"} {
		for _, how := range []string{"failed", "happened"} {
			t.Run(op+" "+how, func(t *testing.T) {
				g := publishing(t, athens.Options{})
				v := upload(t, "v1.0.0")
				g.store.Fail(op, how)
				_, _, err := g.publish(v)
				g.store.Fail(op, "")
				absent := len(athenstest.Held(t, g.store, v.Version)) < 3
				require.Error(t, err)
				if absent {
					for _, path := range []string{"@v/list", "@latest", "@v/v1.info", "@v/v1.0.0.info", "@v/v1.0.0.mod", "@v/v1.0.0.zip"} {
						g.ask(http.StatusNotFound, "/corp.example/m/"+path)
					}
					g.ask(http.StatusNotFound, lookup+"corp.example/m@v1.0.0")
				}
				sums, created, err := g.publish(v)
				require.NoError(t, err)
				assert.Equal(t, absent, created)
				assert.Len(t, sums, 2)
				assert.Equal(t, "v1.0.0\n", g.ask(http.StatusOK, "/corp.example/m/@v/list"))
				g.ask(http.StatusOK, "/corp.example/m/@v/v1.0.0.info")
			})
		}
	}
}

// Of many uploads of one version with different content one wins, and of the same content
// one is new.
func TestPublishRace(t *testing.T) {
	g := publishing(t, athens.Options{})
	var created, same, conflicts atomic.Int64
	var group sync.WaitGroup
	for i := range 12 {
		v := upload(t, "v1.0.0", "m.go", fmt.Sprintf("package m%d\n", i%4))
		group.Go(func() {
			_, fresh, err := g.publish(v)
			switch {
			case errors.As(err, new(*athens.ConflictError)):
				conflicts.Add(1)
			case assert.NoError(t, err) && fresh:
				created.Add(1)
			default:
				same.Add(1)
			}
		})
	}
	group.Wait()
	assert.Equal(t, []int64{1, 2, 9}, []int64{created.Load(), same.Load(), conflicts.Load()})
	assert.Equal(t, int64(1), g.Stats().LedgerRecords)
}

// Options.Admit has a look at what is published, and hidden versions leave lists.
func TestPublishedPolicy(t *testing.T) {
	refuse := true
	g := publishing(t, athens.Options{Private: "corp.example", Admit: func(_ context.Context, m module.Version, _ io.ReaderAt, _ int64) error {
		if refuse {
			return &athens.BlockedError{Path: m.Path, Version: m.Version, Reason: "a virus"}
		}
		return nil
	}})
	one, two := upload(t, "v1.0.0"), upload(t, "v1.1.0")
	_, _, err := g.publish(one)
	require.ErrorContains(t, err, "a virus")
	assert.Empty(t, athenstest.Held(t, g.store, one.Version))
	refuse = false
	for _, v := range []*modtest.Version{one, two} {
		_, _, err := g.publish(v)
		require.NoError(t, err)
	}
	require.NoError(t, g.store.Hide(t.Context(), two.Version, "does not compile"))
	assert.Equal(t, "v1.0.0\n", g.ask(http.StatusOK, "/corp.example/m/@v/list"))
	assert.Contains(t, g.ask(http.StatusOK, "/corp.example/m/@latest"), "v1.0.0")
	g.ask(http.StatusOK, "/corp.example/m/@v/v1.1.0.zip")
	_, created, err := g.publish(two)
	require.NoError(t, err)
	assert.False(t, created)
	assert.Empty(t, g.vcs.Take())
}
