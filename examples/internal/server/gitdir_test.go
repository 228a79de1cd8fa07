package server

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve"
)

// A store that can't be written is served as it is. Files stand where its folders
// would be made, which stops even root.
func TestStoreThatCannotBeWritten(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temp)
	m := modtest.NewVersion(t, "held.test/m", "v1.0.0", map[string]string{"go.mod": "module held.test/m\n"})
	folder := filepath.Join(dir, "held.test/m/@v")
	require.NoError(t, os.MkdirAll(folder, 0o777))
	for name, body := range map[string][]byte{".info": m.Info, ".mod": m.Mod, ".zip": m.Zip} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, "v1.0.0"+name), body, 0o666))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".git-cache"), nil, 0o666))
	flags, _ := parsed(t, "-dir", dir, "-private", "")
	var said bytes.Buffer
	log, flush := serve.NewLogger(&said, nil)
	_, err := Open(flags, log)
	assert.ErrorContains(t, err, "repositories: mkdir", "the store can be written")

	require.NoError(t, os.RemoveAll(filepath.Join(dir, ".athens")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".athens"), nil, 0o666))
	parts, err := Open(flags, log)
	require.NoError(t, err)
	flush()
	assert.Contains(t, said.String(), "can't write to the store")
	kept, err := os.ReadDir(temp)
	require.NoError(t, err)
	assert.Len(t, kept, 1)

	h, err := athens.NewHandler(parts.Store, &parts.Options)
	require.NoError(t, err)
	for _, file := range []string{"v1.0.0.info", "v1.0.0.mod", "v1.0.0.zip"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/held.test/m/@v/"+file, nil))
		assert.Equal(t, http.StatusOK, w.Code, "%s: %s", file, w.Body)
	}
	require.NoError(t, h.Shutdown(t.Context()))
	parts.close()
	kept, err = os.ReadDir(temp)
	require.NoError(t, err)
	assert.Empty(t, kept)
}
