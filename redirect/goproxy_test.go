package redirect_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/redirect"
)

// goproxy starts a GOPROXY server of a few versions of one module.
func goproxy(t *testing.T) (*modtest.GoProxy, *modtest.Version) {
	files := map[string]string{"go.mod": "module git.test/Upper\n\ngo 1.20\n", "a.go": "package a\n"}
	v := modtest.NewVersion(t, "git.test/Upper", "v1.1.0", files)
	p := modtest.NewGoProxy(t, v, modtest.NewVersion(t, "git.test/Upper", "v1.0.0", files), modtest.NewVersion(t, "git.test/Upper", "v1.2.0-RC.1", files))
	p.Alias(v, "main")
	return p, v
}

func TestGoProxy(t *testing.T) {
	p, v := goproxy(t)
	u := upstream(t, p.URL, nil)
	versions, err := u.Versions(t.Context(), v.Path)
	require.NoError(t, err)
	assert.Equal(t, []string{"v1.0.0", "v1.1.0", "v1.2.0-RC.1"}, versions)
	for query, want := range map[string]string{"latest": "v1.1.0", "main": "v1.1.0", "v1": "v1.1.0", "v1.2": "v1.2.0-RC.1", "v1.2.0-RC.1": "v1.2.0-RC.1"} {
		got, err := u.Resolve(t.Context(), v.Path, query)
		require.NoError(t, err, query)
		assert.Equal(t, want, got.Version, query)
	}
	p.Reset()
	c, err := u.Fetch(t.Context(), v.Version)
	require.NoError(t, err)
	info, err := c.Info(t.Context())
	require.NoError(t, err)
	var want athens.Info
	require.NoError(t, json.Unmarshal(v.Info, &want))
	want.Raw = v.Info
	assert.Equal(t, &want, info)
	mod, err := c.Mod(t.Context())
	require.NoError(t, err)
	assert.Equal(t, v.Mod, mod)
	var zip bytes.Buffer
	require.NoError(t, c.Zip(t.Context(), &zip))
	h1, err := modcheck.Zip(bytes.NewReader(zip.Bytes()), int64(zip.Len()), v.Version, mod, 1<<20)
	require.NoError(t, err)
	assert.Equal(t, v.Sum, h1)
	assert.Equal(t, 3, p.Count(""))
}

// What breaks between is an outage, what arrives and can't be right is invalid,
// and neither is "missing".
func TestGoProxyFaults(t *testing.T) {
	for name, f := range map[string]struct {
		fault       modtest.Fault
		infoErr     error // nil if it can't be noticed
		zipErr      error
		zipRequests int
	}{
		"cut":             {modtest.Cut(), new(athens.UnavailableError), new(athens.UnavailableError), 2},
		"cut afterwards":  {modtest.After(modtest.Cut()), new(athens.UnavailableError), new(athens.UnavailableError), 2},
		"down":            {modtest.Status(503), new(athens.UnavailableError), new(athens.UnavailableError), 2},
		"truncated":       {modtest.Truncate(10), new(athens.UnavailableError), new(athens.UnavailableError), 1},
		"longer":          {modtest.Length(5), new(athens.UnavailableError), new(athens.UnavailableError), 1},
		"shorter":         {modtest.Length(-5), new(athens.InvalidError), nil, 1},
		"too large":       {modtest.Oversize(1 << 20), new(athens.InvalidError), new(athens.InvalidError), 1},
		"something else":  {modtest.Body("{}"), new(athens.UnavailableError), nil, 1},
		"a page":          {modtest.Body(modtest.SignIn), new(athens.UnavailableError), new(athens.UnavailableError), 1},
		"another version": {modtest.Swap("/git.test/!upper/@v/v1.0.0.info"), new(athens.InvalidError), nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			p, v := goproxy(t)
			u := upstream(t, p.URL, &redirect.Options{Tries: 2, RetryDelay: 1, MaxZipBytes: 100_000})
			c, err := u.Fetch(t.Context(), v.Version)
			require.NoError(t, err)
			mend := p.Break("", f.fault)
			_, err = c.Info(t.Context())
			assert.IsType(t, f.infoErr, err)
			p.Reset()
			var zip bytes.Buffer
			err = c.Zip(t.Context(), &zip)
			if f.zipErr != nil {
				assert.IsType(t, f.zipErr, err)
			} else {
				assert.NoError(t, err)
				_, err = modcheck.Zip(bytes.NewReader(zip.Bytes()), int64(zip.Len()), v.Version, v.Mod, 1<<20)
				assert.Error(t, err)
			}
			assert.LessOrEqual(t, zip.Len(), 100_000)
			assert.GreaterOrEqual(t, p.Count("*.zip")+p.Count("*.info"), f.zipRequests)
			mend()
			_, err = u.Resolve(t.Context(), v.Path, "latest")
			assert.NoError(t, err, "mended")
		})
	}
	// A fault of half the tries is none.
	p, v := goproxy(t)
	p.Break("", modtest.First(1, modtest.Status(502)))
	_, err := upstream(t, p.URL, &redirect.Options{RetryDelay: 1}).Resolve(t.Context(), v.Path, "v1.0.0")
	assert.NoError(t, err)
	_, err = upstream(t, p.URL, nil).Resolve(t.Context(), v.Path, "v9.0.0")
	var missing *athens.MissingError
	assert.ErrorAs(t, err, &missing)
	assert.Equal(t, module.Version{Path: v.Path, Version: "v9.0.0"}, module.Version{Path: missing.Path, Version: missing.Query})
}
