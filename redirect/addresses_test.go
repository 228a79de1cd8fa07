package redirect

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// An upstream that can't be reached is named as its URL names it: the address that was
// dialed is not for clients.
func TestErrorsNameNoAddress(t *testing.T) {
	_, port, err := net.SplitHostPort(modtest.FreeAddr(t))
	require.NoError(t, err)
	u, err := New("http://localhost:"+port, &Options{Tries: 1, Netrc: "none"})
	require.NoError(t, err)
	defer u.CloseIdleConnections()

	_, asked := u.Versions(t.Context(), "example.com/m")
	_, located := u.Location(t.Context(), "example.com/m/@v/v1.0.0.zip")
	for _, err := range []error{asked, located, u.Healthy(t.Context())} {
		require.ErrorContains(t, err, "localhost:"+port)
		assert.NotContains(t, err.Error(), "127.0.0.1")
		assert.NotContains(t, err.Error(), "::1")
	}
}
