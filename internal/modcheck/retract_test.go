package modcheck_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/athens-go/athens/internal/modcheck"
)

func TestRetracted(t *testing.T) {
	r := modcheck.Retracted([]byte("module m\n\nretract v1.0.0 // broken\n\nretract (\n\t[v1.2.0, v1.3.0]\n)\n"))
	for v, want := range map[string]bool{"v1.0.0": true, "v1.0.1": false, "v1.2.0-rc.1": false, "v1.2.5": true, "v1.3.0": true, "v1.3.1": false} {
		assert.Equal(t, want, r.Include(v), v)
	}
	for name, mod := range map[string]string{
		"none": "module m\n", "broken": "module m\nretract (", "large": "module m\nretract v1.0.0\n//" + strings.Repeat("x", 5<<20), "long": "module m\nretract v1.0.0\n" + strings.Repeat("\n", 200_000),
	} {
		assert.Empty(t, modcheck.Retracted([]byte(mod)), name)
	}
}
