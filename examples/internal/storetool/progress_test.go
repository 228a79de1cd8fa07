package storetool

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestProgressLine(t *testing.T) {
	assert.Equal(t, "[##########..........]  50% 30 of 60 versions, 5.0 MB, 500.0 kB/s, 10s left", progressLine("versions", 30, 60, 5e6, 10e6, 10*time.Second))
	assert.Equal(t, "[#####...............]  25% 1 of 4 versions, 10 B, 1 B/s, 30s left", progressLine("versions", 1, 4, 10, 0, 10*time.Second))
	assert.Equal(t, "3 versions, 1.5 GB, 1.5 GB/s", progressLine("versions", 3, 0, 1.5e9, 0, time.Second))
	var b strings.Builder
	m := newMeter("import", &b)
	m.show("versions", 1, 2, 3, 4)
	assert.Empty(t, b.String(), "it has just begun")
	m.last = time.Time{}
	m.show("versions", 1, 2, 3, 4)
	m.end()
	assert.Regexp(t, `^import: \[#+\.+\]  75% 1 of 2 versions, 3 B.*\n$`, b.String())
}
