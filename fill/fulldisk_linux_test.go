package fill

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// On a disk that is really full a queue opens, goes on in memory, and writes down
// all of it when there is room.
func TestFullDisk(t *testing.T) {
	disk := modtest.SmallDisk(t, "4m")
	dir, ballast := filepath.Join(disk, "fills"), filepath.Join(disk, "ballast")
	var log modtest.Log
	opts := &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	q := openQueue(t, dir, opts)
	modtest.TakeRoom(t, ballast)
	const n = 100 // more than a page has room for
	for i := range n {
		require.NoError(t, q.Schedule(t.Context(), whole(i), time.Hour))
	}
	assert.Contains(t, q.Status().Journal, "no space left on device")
	assert.EqualValues(t, n, q.Status().Counts.Pending)
	later := openQueue(t, filepath.Join(disk, "later"), opts)
	require.NoError(t, later.Schedule(t.Context(), whole(0), time.Hour))
	assert.Contains(t, later.Status().Journal, "no space left on device")

	require.NoError(t, os.Remove(ballast))
	for _, q := range []*Queue{q, later} {
		until(t, func() bool { return q.Status().Journal == "" })
		die(t, q)
	}
	assert.EqualValues(t, n, openQueue(t, dir, nil).Status().Counts.Pending)
	assert.EqualValues(t, 1, openQueue(t, filepath.Join(disk, "later"), nil).Status().Counts.Pending)
}
