package server

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadSecrets(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hooks")
	for text, want := range map[string]string{
		"": "has no secret", "# none\n\n": "has no secret", "short\n": "less than 16",
	} {
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		_, err := readSecrets(file)
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "short")
	}
	_, err := readSecrets(file + "x")
	assert.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.WriteFile(file, []byte("# GitHub\n 0123456789abcdef \n\nfedcba9876543210"), 0o600))
	secrets, err := readSecrets(file)
	require.NoError(t, err)
	assert.Equal(t, []string{"0123456789abcdef", "fedcba9876543210"}, secrets)
}
