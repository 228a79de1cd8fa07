package redirect

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCacheIsBounded(t *testing.T) {
	c := newCache(10 * (overhead + 102))
	for i := range 100 {
		c.put(fmt.Sprintf("%02d", i), make([]byte, 100))
		_, ok := c.get("00")
		assert.True(t, ok, "used each time, so kept")
		assert.LessOrEqual(t, c.size, c.most)
	}
	assert.Len(t, c.byName, 10)
	_, ok := c.get("98")
	assert.True(t, ok)
	_, ok = c.get("50")
	assert.False(t, ok)

	c.put("98", make([]byte, 50))
	assert.Equal(t, 10*(overhead+102)-50, int(c.size))
	c.put("large", make([]byte, 1<<20))
	assert.Zero(t, c.size)
	assert.Empty(t, c.byName)
}
