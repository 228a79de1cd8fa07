package blob

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/sumlog"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
)

// What an object holds is refused, or is what encodeMeta makes of it.
func FuzzMeta(f *testing.F) {
	m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
	made, err := encodeMeta(m, &athens.Info{Version: "v1.0.0", Time: time.Unix(1e9, 0), Origin: &athens.Origin{Hash: "abc"}}, []byte("module example.com/m\n"))
	require.NoError(f, err)
	f.Add(made.object)
	f.Add([]byte("{\"Version\":\"v1.0.0\"}\nx"))
	f.Add([]byte("{\"Version\":\"v1.0.1\"}\nx"))
	f.Add([]byte("{}\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, object []byte) {
		d, err := parseMeta(m, object)
		if err != nil {
			return
		}
		info, mod := d.file(athens.InfoFile), d.file(athens.ModFile)
		require.Equal(t, object, bytes.Join([][]byte{info, mod}, []byte("\n")))
		require.Equal(t, m.Version, d.info.Version)
		require.NotEmpty(t, mod)
		require.NoError(t, d.compare(m, &d.info, mod))
		again, err := encodeMeta(m, &d.info, mod)
		if err == nil { // a year beyond 9999 can't be written
			require.NoError(t, again.compare(m, &d.info, mod))
		}
	})
}

// A key is that of a version, or of none.
func FuzzMetaKey(f *testing.F) {
	for _, key := range []string{
		"mod/example.com/!some/mod/@v/v1.0.0-!r!c1", "mod/example.com/m/v2/@v/v2.0.0", "mod/example.com/m/@v/v2.0.0+incompatible",
		"mod/example.com/m/@v/v1", "mod/@v/v1.0.0", "zip/example.com/m/@v/v1.0.0.zip", "mod/a/@v/@v/v1.0.0", "mod/../@v/v1.0.0", ".athens/probe",
	} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		m, ok := parseMetaKey(key)
		if !ok {
			require.Zero(t, m)
			return
		}
		require.NoError(t, module.Check(m.Path, m.Version))
		again, err := metaKey(m)
		require.NoError(t, err)
		require.Equal(t, key, again)
		prefix, err := versionsPrefix(m.Path)
		require.NoError(t, err)
		require.True(t, len(key) > len(prefix) && key[:len(prefix)] == prefix)
	})
}

// What is read as a bundle is written the same.
func FuzzParseBundle(f *testing.F) {
	key, _, err := note.GenerateKey(rand.Reader, "sum.corp.example")
	require.NoError(f, err)
	keys, err := sumlog.NewKeys(key, "")
	require.NoError(f, err)
	text, err := sumlog.RecordText(module.Version{Path: "example.com/m", Version: "v1.0.0"}, "h1:"+strings.Repeat("A", 43)+"=", "h1:"+strings.Repeat("B", 43)+"=")
	require.NoError(f, err)
	made, err := (&bundle{seq: 3, first: 7, records: []ledgerRecord{{1, text}, {2, text}}}).encode(keys.Signers)
	require.NoError(f, err)
	body := made[:bytes.Index(made, []byte("\n\n"))+1]
	f.Add(body)
	f.Add(body[:len(body)-2])
	f.Add(bytes.Replace(body, []byte("3 7"), []byte("-3 7"), 1))
	f.Add([]byte(bundleMagic))
	f.Add([]byte(bundleMagic + "1 1 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n1\n\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		object, err := note.Sign(&note.Note{Text: string(body)}, keys.Signers...)
		if err != nil {
			return
		}
		b, err := parseBundle(object, keys.Known)
		if err != nil {
			return
		}
		require.True(t, b.signed)
		again, err := b.encode(keys.Signers)
		require.NoError(t, err)
		require.Equal(t, object, again)
	})
}
