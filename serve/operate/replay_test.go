package operate

import (
	"crypto/sha256"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
)

// As many events as docs/access.md says are remembered, and a forgotten one may come again.
func TestReplays(t *testing.T) {
	store := storage.NewMemory()
	handler, err := athens.NewHandler(store, &athens.Options{Private: "none", Offline: true})
	require.NoError(t, err)
	a, err := New(handler, store, nil)
	require.NoError(t, err)
	key := func(i int) [sha256.Size]byte { return sha256.Sum256([]byte(strconv.Itoa(i))) }
	for i := range 10_000 {
		require.True(t, a.first(key(i)))
	}
	for i := range 10_000 {
		require.False(t, a.first(key(i)))
	}
	a.received.Delete(key(7))
	assert.True(t, a.first(key(7)))
	assert.False(t, a.first(key(7)))
}
