package fetcher_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
)

// TestModServers compares what becomes of queries for modules whose go-import page
// names a GOPROXY server: the client chooses, and what is retracted does not count.
func TestModServers(t *testing.T) {
	version := func(path, v, gomod string) *modtest.Version {
		files := map[string]string{"a.go": "package a\n"}
		if gomod != "" {
			files["go.mod"] = gomod
		}
		return modtest.NewVersion(t, path, v, files)
	}
	const pseudo, other = "v0.0.0-20210101100000-0123456789ab", "v0.0.0-20210102100000-0123456789ab"
	proxy := modtest.NewGoProxy(t,
		version("pm.test/some", "v1.0.0", "module pm.test/some\n"), version("pm.test/some", "v1.1.0-pre", "module pm.test/some\n"),
		version("pm.test/some", "v1.1.0", "module pm.test/some\n"), version("pm.test/some", "v1.2.0", "module pm.test/some\n\nretract [v1.1.0, v1.2.0]\n"),
		version("pm.test/old", "v1.0.0", ""), version("pm.test/old", "v1.1.0", "module pm.test/old\n\nretract v0.1.0\n"), version("pm.test/old", "v2.0.0+incompatible", ""),
		version("pm.test/older", "v1.0.0", ""), version("pm.test/older", "v2.0.0+incompatible", ""),
		version("pm.test/untagged", pseudo, "module pm.test/untagged\n"), version("pm.test/listed", pseudo, "module pm.test/listed\n"), version("pm.test/listed", other, "module pm.test/listed\n"),
		version("pm.test/liar", "v1.0.0", "module pm.test/liar\n"), version("pm.test/dated", pseudo, "module pm.test/dated\n"),
	)
	proxy.Alias(version("pm.test/some", "v1.0.0", "module pm.test/some\n"), "main")
	proxy.Set("pm.test/listed/@latest", nil)
	proxy.Set("pm.test/listed/@v/list", []byte(other+"\n"+pseudo+"\nnonsense\n\n"))
	proxy.Set("pm.test/dated/@latest", nil)
	proxy.Set("pm.test/dated/@v/list", []byte(pseudo+" 2021-01-01T10:00:00Z more\n"))
	proxy.Alias(version("pm.test/liar", "v1.0.0", "module pm.test/liar\n"), "v1.1.0")
	net := modtest.NewInternet(t)
	net.Handle("goproxy.test", proxy)
	pages := make(map[string]string)
	for _, name := range []string{"some", "old", "older", "untagged", "listed", "liar", "dated", "none"} {
		pages["/"+name] = tag("pm.test/" + name + " mod http://goproxy.test")
	}
	net.Handle("pm.test", pageCase{pages: pages})
	for _, ref := range [][2]string{
		{"some", "latest"}, {"some", "v1"}, {"some", "v1.1"}, {"some", "v2"}, {"some", "main"}, {"some", "dev"}, {"some", "v1.0.0+meta"}, {"some", ">=v1.0.0"}, {"some", "<v1.2.0"}, {"some", "a/b"},
		{"old", "latest"}, {"old", "v1.0"}, {"old", "<v2.0.0"}, {"old", ">=v1.0.0"}, {"older", "latest"}, {"older", "v2"}, {"older", "<v9.0.0"},
		{"untagged", "latest"}, {"listed", "latest"}, {"listed", "v0"}, {"dated", "latest"}, {"liar", "v1.1.0"}, {"liar", "latest"}, {"none", "latest"}, {"none", "main"},
	} {
		t.Run(ref[0]+"@"+ref[1], func(t *testing.T) {
			t.Parallel()
			path := "pm.test/" + ref[0]
			want := modtest.NewGo(t, net).Download(path + "@" + ref[1])[0]
			got, err := newFetcher(t, net, nil).Resolve(t.Context(), path, ref[1])
			if want.Error != "" {
				assert.Error(t, err, want.Error)
				assert.NotErrorAs(t, err, new(*athens.UnavailableError))
				return
			}
			require.NoError(t, err)
			assert.Equal(t, want.Version, got.Version)
			assert.Equal(t, modtest.JSON(t, want.Origin), modtest.JSON(t, got.Origin))
			assert.True(t, want.Stored.Time.Equal(got.Time), "%s is not %s", got.Time, want.Stored.Time)
		})
	}
}
