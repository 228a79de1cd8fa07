package fetcher_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// A really full disk under the bare repositories is this server's own fault, without a
// word of its folders, and ends when there is room again.
func TestFullDiskIsOurOwnFault(t *testing.T) {
	dir := modtest.SmallDisk(t, "1m")
	n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
	f, err := fetcher.New(dir, &fetcher.Options{
		Transport: n.Transport(), Insecure: modtest.Insecure, Netrc: "none", GitConfig: "none", SSHDir: "none", DownTTL: 1,
	})
	require.NoError(t, err)
	defer f.Close()
	full := filepath.Join(dir, "full")
	modtest.TakeRoom(t, full)
	for question, ask := range statusQuestions {
		if question == "list" {
			continue // needs no room
		}
		err := ask(t.Context(), f, "git.test/simple")
		require.Error(t, err, question)
		code, _ := athens.Status(err)
		assert.Equal(t, http.StatusInsufficientStorage, code, "%s: %v", question, err)
		assert.False(t, athens.Final(err), question)
	}
	require.NoError(t, os.Remove(full))
	for question, ask := range statusQuestions {
		assert.NoError(t, ask(t.Context(), f, "git.test/simple"), question)
	}
}
