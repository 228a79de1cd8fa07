package ledger

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const sampleHash = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

// A record of the file is read as it was written, or not at all, whatever follows it.
func FuzzDecode(f *testing.F) {
	whole := record{[]byte("example.com/m v1.0.0 " + sampleHash + "\n"), 1}.encode(nil)
	f.Add(whole)
	f.Add(append(whole, whole...))
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, size, more, err := decode(data)
		if err != nil || more > 0 {
			assert.Zero(t, size)
			assert.Empty(t, r.text)
			assert.True(t, err != nil || more > len(data) && more <= headerBytes+maxText)
			return
		}
		assert.Equal(t, data[:size], r.encode(nil))
	})
}

// The text of a record has one form.
func FuzzParseText(f *testing.F) {
	text, err := recordText(module.Version{Path: "example.com/m", Version: "v1.0.0"}, sampleHash, sampleHash)
	require.NoError(f, err)
	f.Add(text)
	f.Add(append(text, text...))
	f.Add([]byte("example.com/m v1 h1:x\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, zipHash, modHash, err := parseText(data)
		if err != nil {
			return
		}
		again, err := recordText(m, zipHash, modHash)
		require.NoError(t, err)
		assert.Equal(t, data, again)
	})
}

// Only what a known key has signed is a head.
func FuzzParseHead(f *testing.F) {
	key, err := NewKey("sum.example.com")
	require.NoError(f, err)
	l := new(Ledger)
	require.NoError(f, l.keys(key, ""))
	hash, err := tlog.TreeHash(0, nil)
	require.NoError(f, err)
	signed, err := l.sign(0, hash)
	require.NoError(f, err)
	foreign, err := NewKey("sum.example.com")
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
		tree, err := parseHead(data, l.known)
		if err == nil {
			assert.Equal(t, tlog.Tree{N: 0, Hash: hash}, tree, "the key has signed one tree only")
		}
	})
}
