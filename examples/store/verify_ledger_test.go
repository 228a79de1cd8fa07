package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/storage"
)

// TestLedger compares a store with its registry's ledger by nothing but URL and key.
func TestLedger(t *testing.T) {
	t.Parallel()
	vcs := athenstest.NewSource(t, "vcs")
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		vcs.Add(module.Version{Path: "corp.test/m", Version: v}, "m.go", "package m // "+v+"\n")
	}
	key, err := ledger.NewKey("sum.corp.example")
	require.NoError(t, err)
	public, err := ledger.PublicKey(key)
	require.NoError(t, err)
	dir, head := t.TempDir(), filepath.Join(t.TempDir(), "head")

	// registry serves the store with the ledger in a folder, and gets these versions.
	registry := func(folder string, versions ...string) (url string) {
		l, err := ledger.New(folder, key, nil)
		require.NoError(t, err)
		store, err := storage.NewDisk(dir, nil)
		require.NoError(t, err)
		h, err := athens.NewHandler(store, &athens.Options{Fetcher: vcs, Ledger: l, Private: "none"})
		require.NoError(t, err)
		s := httptest.NewServer(h)
		t.Cleanup(func() {
			s.Close()
			require.NoError(t, h.Shutdown(context.Background()))
			require.NoError(t, l.Close())
		})
		for _, v := range versions {
			status, _ := modtest.Get(t, s.URL+"/corp.test/m/@v/"+v+".zip")
			require.Equal(t, http.StatusOK, status)
		}
		return s.URL
	}
	url := registry(t.TempDir(), "v1.0.0", "v1.1.0")
	args := []string{"-dir", dir, "-ledger", url, "-ledger-key", public, "-ledger-head", head}
	status, stdout, stderr := runVerify(t, args...)
	require.Zero(t, status, stdout+stderr)
	assert.FileExists(t, head)

	// Another history with the same key, which began with the other version.
	fork := t.TempDir()
	l, err := ledger.New(fork, key, nil)
	require.NoError(t, err)
	for _, v := range []string{"v1.1.0", "v1.0.0"} {
		m := vcs.Version(module.Version{Path: "corp.test/m", Version: v})
		_, err = l.Add(t.Context(), m.Version, m.Sum, m.GoModSum)
		require.NoError(t, err)
	}
	require.NoError(t, l.Close())
	args[3] = registry(fork)
	status, stdout, stderr = runVerify(t, args...)
	assert.Equal(t, 1, status, stdout+stderr)
	assert.Contains(t, stdout, "the ledger was forked: ")

	// Something else is held than was recorded; it is sound in itself.
	args[3] = url
	evil := modtest.NewVersion(t, "corp.test/m", "v1.0.0", map[string]string{"go.mod": "module corp.test/m\n", "m.go": "package evil\n"})
	base := filepath.Join(dir, "corp.test", "m", "@v", "v1.0.0")
	require.NoError(t, os.WriteFile(base+".zip", evil.Zip, 0o600))
	require.NoError(t, os.WriteFile(base+".ziphash", []byte(evil.Sum), 0o600))
	require.NoError(t, os.Remove(base+".record"))
	status, stdout, stderr = runVerify(t, args...)
	assert.Equal(t, 1, status, stdout+stderr)
	assert.Contains(t, stdout, "corp.test/m: contradicts the ledger: v1.0.0 is held with "+evil.Sum)

	// Who can't be asked, has not been compared.
	args[3] = "http://127.0.0.1:1"
	status, _, stderr = runVerify(t, args...)
	assert.Equal(t, 2, status, stderr)
	for _, bad := range [][]string{{"-ledger", url}, {"-ledger-key", public}, {"-ledger", url, "-ledger-key", "x"}} {
		status, _, stderr = runVerify(t, append([]string{"-dir", dir}, bad...)...)
		assert.Equal(t, 2, status, stderr)
	}
}

// TestLedgerDir compares a store with a stopped ledger's folder.
func TestLedgerDir(t *testing.T) {
	t.Parallel()
	key, err := ledger.NewKey("sum.corp.example")
	require.NoError(t, err)
	public, err := ledger.PublicKey(key)
	require.NoError(t, err)
	vcs := athenstest.NewSource(t, "vcs")
	dir, folder, head := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "head")
	open := func() *ledger.Ledger {
		l, err := ledger.New(folder, key, nil)
		require.NoError(t, err)
		return l
	}
	l := open()
	store, err := storage.NewDisk(dir, nil)
	require.NoError(t, err)
	h, err := athens.NewHandler(store, &athens.Options{Fetcher: vcs, Ledger: l, Private: "none"})
	require.NoError(t, err)
	m := module.Version{Path: "corp.test/m", Version: "v1.0.0"}
	right := vcs.Add(m, "m.go", "package m\n")
	w, _ := athenstest.Ask(t.Context(), h, "/corp.test/m/@v/v1.0.0.zip")
	require.Equal(t, http.StatusOK, w.Code)
	args := []string{"-dir", dir, "-ledger-dir", folder, "-ledger-key", public, "-ledger-head", head}
	status, _, stderr := runVerify(t, args...)
	assert.Equal(t, 2, status, "a registry has it open")
	assert.Contains(t, stderr, "open in another process")
	require.NoError(t, h.Shutdown(context.Background()))
	require.NoError(t, l.Close())
	status, stdout, stderr := runVerify(t, args...)
	require.Zero(t, status, stdout+stderr)
	require.FileExists(t, head)

	// Something else is held than was recorded, and something that was not.
	evil := modtest.NewVersion(t, "corp.test/m", "v1.0.0", map[string]string{"go.mod": "module corp.test/m\n", "m.go": "package evil\n"})
	base := filepath.Join(dir, "corp.test", "m", "@v")
	for name, data := range map[string][]byte{
		"v1.0.0.zip": evil.Zip, "v1.0.0.ziphash": []byte(evil.Sum),
		"v1.1.0.info": []byte(`{"Version":"v1.1.0"}`), "v1.1.0.mod": right.Mod,
		"v1.1.0.zip": modtest.NewVersion(t, "corp.test/m", "v1.1.0", map[string]string{"go.mod": string(right.Mod)}).Zip,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(base, name), data, 0o600))
	}
	require.NoError(t, os.Remove(filepath.Join(base, "v1.0.0.record")))
	status, stdout, _ = runVerify(t, args...)
	assert.Equal(t, 1, status, stdout)
	assert.Contains(t, stdout, "corp.test/m: contradicts the ledger: v1.0.0 is held with "+evil.Sum+", and recorded is "+right.Sum+"\n")
	assert.Contains(t, stdout, "corp.test/m: unrecorded v1.1.0: the ledger does not know it\n")

	// The log is not the one that was seen.
	require.NoError(t, os.RemoveAll(folder))
	require.NoError(t, open().Close())
	status, stdout, _ = runVerify(t, args...)
	assert.Equal(t, 1, status, stdout)
	assert.Contains(t, stdout, "it was rolled back: it has 0 records, and 1 were signed\n")
	assert.NotContains(t, stdout, "unrecorded", "what the log says of versions is of no use then")
}
