package sumlog

import (
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const sampleHash = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

// The text of a record has one form.
func FuzzParseText(f *testing.F) {
	text, err := RecordText(module.Version{Path: "example.com/m", Version: "v1.0.0"}, sampleHash, sampleHash)
	require.NoError(f, err)
	f.Add(text)
	f.Add(append(text, text...))
	f.Add([]byte("example.com/m v1 h1:x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, zipHash, modHash, err := ParseText(data)
		if err != nil {
			return
		}
		again, err := RecordText(m, zipHash, modHash)
		require.NoError(t, err)
		assert.Equal(t, data, again)
	})
}

// Only what a known key has signed is a head.
func FuzzParseHead(f *testing.F) {
	key, _, err := note.GenerateKey(rand.Reader, "sum.example.com")
	require.NoError(f, err)
	keys, err := NewKeys(key, "")
	require.NoError(f, err)
	hash, err := tlog.TreeHash(0, nil)
	require.NoError(f, err)
	signed, err := keys.Sign(0, hash)
	require.NoError(f, err)
	foreign, _, err := note.GenerateKey(rand.Reader, "sum.example.com")
	require.NoError(f, err)
	signer, err := note.NewSigner(foreign)
	require.NoError(f, err)
	forged, err := note.Sign(&note.Note{Text: string(tlog.FormatTree(tlog.Tree{N: 1, Hash: hash}))}, signer)
	require.NoError(f, err)
	f.Add(signed)
	f.Add(forged)
	f.Add(append(signed, forged...))
	f.Add([]byte("go.sum database tree\n-1\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := ParseHead(data, keys.Known)
		if err == nil {
			assert.Equal(t, tlog.Tree{N: 0, Hash: hash}, tree, "the key has signed one tree only")
		}
	})
}
