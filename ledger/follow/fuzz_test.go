package follow

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/sumlog"
)

const sampleHash = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="

var sample = module.Version{Path: "example.com/m", Version: "v1.0.0"}

// A bundle is its records, each with an empty line behind it, and nothing more.
func FuzzParseBundle(f *testing.F) {
	text, err := sumlog.RecordText(sample, sampleHash, sampleHash)
	require.NoError(f, err)
	one := append(text, '\n')
	f.Add(one, 1)
	f.Add(append(bytes.Clone(one), one...), 2)
	f.Add(one[:len(one)-1], 1)
	f.Add([]byte("\n\n"), 1)
	f.Add([]byte("../../m v1.0.0 h1:x\n\n"), 1)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		texts, err := parseBundle(data, min(max(n, 0), sumlog.Full))
		if err != nil {
			return
		}
		var again []byte
		for _, text := range texts {
			_, _, _, err := sumlog.ParseText(text)
			require.NoError(t, err)
			again = append(append(again, text...), '\n')
		}
		assert.True(t, bytes.Equal(data, again))
	})
}

// The answer to a look-up is the record of that version.
func FuzzParseLookup(f *testing.F) {
	text, err := sumlog.RecordText(sample, sampleHash, sampleHash)
	require.NoError(f, err)
	body, err := tlog.FormatRecord(7, text)
	require.NoError(f, err)
	f.Add(append(body, "go.sum database tree\n8\n"...))
	f.Add(body)
	f.Add([]byte("-1\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		id, signed, err := parseLookup(data, sample)
		if err != nil {
			return
		}
		assert.GreaterOrEqual(t, id, int64(0))
		assert.True(t, bytes.HasSuffix(data, signed))
		assert.Contains(t, string(data), sample.Path+" "+sample.Version+" h1:")
	})
}
