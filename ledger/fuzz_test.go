package ledger

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/athens-go/athens/internal/sumlog"
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
			assert.True(t, err != nil || more > len(data) && more <= headerBytes+sumlog.MaxText)
			return
		}
		assert.Equal(t, data[:size], r.encode(nil))
	})
}
