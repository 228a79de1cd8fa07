package modtest_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

func TestGoProxyServesTheGoCommand(t *testing.T) {
	files := map[string]string{"go.mod": "module up.test/Cased\n", "a.go": "package a\n"}
	v1 := modtest.NewVersion(t, "up.test/Cased", "v1.0.0", files)
	v2 := modtest.NewVersion(t, "up.test/Cased", "v1.2.0", files)
	pre := modtest.NewVersion(t, "up.test/Cased", "v1.10.0-rc.1", files)
	pseudo := modtest.NewVersion(t, "up.test/Cased", "v1.2.1-0.20240102030405-0123456789ab", files)
	p := modtest.NewGoProxy(t, v2, pre, pseudo, v1)
	p.Alias(pseudo, "main")
	g := modtest.NewGo(t, nil)
	g.Set("GOPROXY=" + p.URL)

	d := g.MustDownload("up.test/Cased@v1.0.0")
	assert.Equal(t, v1.Sum, d.Sum)
	assert.Equal(t, v1.GoModSum, d.GoModSum)
	assert.Equal(t, 3, p.Count("up.test/!cased/@v/v1.0.0.*"))
	assert.Equal(t, "v1.2.0", g.MustDownload("up.test/Cased@latest").Version)
	d = g.MustDownload("up.test/Cased@main")
	assert.Equal(t, pseudo.Version.Version, d.Version)
	assert.Equal(t, "2024-01-02 03:04:05 +0000 UTC", d.Stored.Time.String())
	out, _, err := g.Run("list", "-m", "-versions", "up.test/Cased")
	require.NoError(t, err)
	assert.Equal(t, "up.test/Cased v1.0.0 v1.2.0 v1.10.0-rc.1\n", out)

	p.Add(modtest.NewVersion(t, "up.test/Cased", "v1.3.0", nil))
	assert.Equal(t, "v1.3.0", g.MustDownload("up.test/Cased@latest").Version)

	p.Set("up.test/!cased/@latest", nil)
	status, body, err := get(http.DefaultClient, p.URL+"/up.test/!cased/@latest")
	require.NoError(t, err)
	assert.Equal(t, 404, status)
	assert.Contains(t, body, "not found: ")
}

func TestGoProxyLatest(t *testing.T) {
	for _, test := range []struct{ versions, latest string }{
		{"v1.0.0 v1.1.0-rc.1", "v1.0.0"},
		{"v1.0.0-alpha v1.0.0-beta v1.0.1-0.20200101000000-0123456789ab", "v1.0.0-beta"},
		{"v0.0.0-20210101000000-0123456789ab v0.1.1-0.20200101000000-0123456789ab", "v0.0.0-20210101000000-0123456789ab"},
	} {
		var a, b, c string
		n, _ := fmt.Sscan(test.versions, &a, &b, &c)
		p := modtest.NewGoProxy(t)
		for _, v := range []string{c, b, a}[3-n:] {
			p.Add(modtest.NewVersion(t, "up.test/m", v, nil))
		}
		_, body, err := get(http.DefaultClient, p.URL+"/up.test/m/@latest")
		require.NoError(t, err)
		assert.Contains(t, body, test.latest)
	}
}

func TestGoProxyFaults(t *testing.T) {
	v1 := modtest.NewVersion(t, "up.test/m", "v1.0.0", map[string]string{"a.go": "package a\n"})
	v2 := modtest.NewVersion(t, "up.test/m", "v2.0.0+incompatible", map[string]string{"b.go": "package b\n"})
	p := modtest.NewGoProxy(t, v1, v2)
	defer p.Break("*.zip", modtest.Swap("/up.test/m/@v/v2.0.0+incompatible.zip"))()
	_, body, err := get(http.DefaultClient, p.URL+"/up.test/m/@v/v1.0.0.zip")
	require.NoError(t, err)
	assert.Equal(t, string(v2.Zip), body)
	assert.Equal(t, 1, p.Count("up.test/m/@v/v1.0.0.zip"), "counted as what was asked for")

	p.Break("up.test", modtest.Cut())
	g := modtest.NewGo(t, nil)
	g.Set("GOPROXY=" + p.URL)
	d := g.Download("up.test/m@v1.0.0")
	require.Len(t, d, 1)
	assert.Contains(t, d[0].Error, "EOF")
}
