package protocoltest_test

import (
	"archive/zip"
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// The go command takes any .mod and any zip of a GOPROXY server, each by its own hash:
// a zip without a go.mod, or with another one. From version control the two are of
// one commit.
func TestZipAndModDiffer(t *testing.T) {
	for name, file := range map[string]string{"no go.mod": "a.go", "another go.mod": "go.mod"} {
		t.Run(name, func(t *testing.T) {
			for _, vcs := range []bool{false, true} {
				withFixture(t, !vcs, func(b *fixture) {
					v := b.source(!vcs).Add(athenstest.Example)
					v.Zip = zipOf(b, file)
					v.Mod = []byte("module example.com/m\n\nrequire example.com/other v1.0.0\n")
					w, _ := athenstest.Ask(b.Context(), b, athenstest.ZipPath)
					err := b.Fill(b.Context(), athens.Fill{Module: athenstest.Example, Zip: true})
					if vcs {
						require.Equal(b, http.StatusBadGateway, w.Code)
						require.ErrorAs(b, err, new(*athens.InvalidError))
						return
					}
					require.Equal(b, http.StatusOK, w.Code, w.Body.String())
					assert.Equal(b, v.Zip, w.Body.Bytes())
					require.NoError(b, err)
					w, _ = athenstest.Ask(b.Context(), b, athenstest.ModPath)
					assert.Equal(b, v.Mod, w.Body.Bytes())
				})
			}
		})
	}
}

// zipOf returns a zip of [athenstest.Example] with one file.
func zipOf(t testing.TB, file string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	f, err := w.Create(athenstest.Example.String() + "/" + file)
	require.NoError(t, err)
	_, err = io.WriteString(f, "module example.com/m\n")
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}
