package e2e_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestFollowFullDisk lets a follower run out of room: it serves what it has, and takes
// over what it missed once there is room.
func TestFollowFullDisk(t *testing.T) {
	t.Parallel()
	disk := modtest.SmallDisk(t, "16m")
	net := modtest.NewInternet(t, modtest.Ready(t, "simple", "private")...)
	primary := newBooks(t, net)
	primary.client().MustDownload(ledgerRefs[0])
	f := primary.followerIn(filepath.Join(disk, "store"))
	f.gets(ledgerRefs[0])
	f.settle()
	ballast := filepath.Join(disk, "ballast")
	modtest.TakeRoom(t, ballast)
	primary.client().MustDownload(ledgerRefs[1])
	f.AwaitLog("no space left on device")
	f.client().MustDownload(ledgerRefs[0])
	require.NoError(t, os.Remove(ballast))
	f.gets(ledgerRefs[1])
	f.client().MustDownload(ledgerRefs[1])
	f.Kill()
	f.restart()
	for _, ref := range ledgerRefs {
		status, _ := f.look(ref)
		assert.Equal(t, http.StatusOK, status)
	}
}
