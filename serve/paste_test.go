package serve

import (
	"net"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The line means in a shell what it says.
func TestPasteLine(t *testing.T) {
	t.Parallel()
	for _, private := range []string{"", "corp.test", "*.corp.test,a.test/[x-z]*", `it's "odd" $HOME`} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c",
			PasteLine("http://127.0.0.1:3000", private)+`; printf '%s|%s|%s' "$GOPROXY" "$GONOPROXY" "$GONOSUMDB"`).Output()
		require.NoError(t, err)
		assert.Equal(t, "http://127.0.0.1:3000|none|"+private, string(out))
	}
}

func TestLocalHost(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"127.0.0.1:80": "127.0.0.1:80", "0.0.0.0:80": "127.0.0.1:80", "[::]:80": "127.0.0.1:80", "[::1]:80": "[::1]:80", "10.1.2.3:80": "10.1.2.3:80",
	} {
		a, err := net.ResolveTCPAddr("tcp", addr)
		require.NoError(t, err)
		assert.Equal(t, want, LocalHost(a))
	}
}
