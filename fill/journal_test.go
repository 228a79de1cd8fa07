package fill

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill/internal/journal"
	"github.com/athens-go/athens/internal/flock"
	"github.com/athens-go/athens/internal/modtest"
)

// openQueue opens a queue that ends with the test.
func openQueue(t *testing.T, dir string, opts *Options) *Queue {
	t.Helper()
	q, err := Open(dir, opts)
	require.NoError(t, err)
	t.Cleanup(func() { _ = q.Close() })
	return q
}

// die makes q one whose process was killed: its lock is gone, and its file stays.
func die(t *testing.T, q *Queue) {
	t.Helper()
	q.journal.Abandon()
	q.mu.Lock()
	q.ended, q.closed = true, true
	q.mu.Unlock()
}

// journals lists the files in a folder.
func journals(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	return files
}

// run works a queue off until the test ends or stop is called.
func run(t *testing.T, q *Queue, answer func(context.Context, athens.Fill) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx, answer) }()
	stop = sync.OnceFunc(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
	t.Cleanup(stop)
	return stop
}

func down(context.Context, athens.Fill) error { return errors.New("down") }

// A fill that was postponed waits on, and is given up when it would have been.
func TestRetriesSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		opts := &Options{MinRetryDelay: time.Minute, MaxRetryDelay: time.Hour, GiveUpAfter: 3 * time.Hour}
		q := openQueue(t, dir, opts)
		stop := run(t, q, down)
		require.NoError(t, q.Schedule(t.Context(), whole(0), time.Second))
		time.Sleep(30 * time.Minute)
		before := q.Status().Pending
		require.Len(t, before, 1)
		require.Greater(t, before[0].Attempts, 2)
		stop()
		require.NoError(t, q.Close())

		q = openQueue(t, dir, opts)
		after := q.Status().Pending
		require.Len(t, after, 1)
		for _, e := range []*Entry{&before[0], &after[0]} { // the same instants, written in another way
			for _, at := range []*time.Time{&e.Scheduled, &e.Due, &e.Started} {
				*at = at.UTC().Round(0)
			}
		}
		assert.Equal(t, before, after)
		run(t, q, down)
		time.Sleep(2*time.Hour + 20*time.Minute)
		assert.Len(t, q.Status().Pending, 1)
		time.Sleep(time.Hour + 11*time.Minute)
		s := q.Status()
		require.Len(t, s.Failed, 1, "three hours after its first run")
		assert.Equal(t, "down", s.Failed[0].Reason)
		die(t, q)

		assert.Equal(t, s.Failed[0].Reason, openQueue(t, dir, nil).Status().Failed[0].Reason, "failures are shown on")
	})
}

// A fill that its process dies of is not run again at once, for ever.
func TestCrashCountsAsTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var waits []time.Duration
		for range 4 {
			q := openQueue(t, dir, nil)
			if len(waits) == 0 {
				require.NoError(t, q.Schedule(t.Context(), small(0), 0))
			}
			begin := time.Now()
			started := make(chan struct{})
			release := make(chan struct{})
			run(t, q, func(context.Context, athens.Fill) error {
				close(started)
				<-release
				return nil
			})
			<-started
			waits = append(waits, time.Since(begin))
			synctest.Wait()
			die(t, q)
			close(release)
		}
		assert.Equal(t, []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second}, waits)
	})
}

// Each change is written down: an earlier time, and a zip that is asked for while
// its version is filled without, during the run and after it.
func TestEveryChangeSurvives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		// left is what a process would find after a kill now.
		left := func() []Entry {
			t.Helper()
			synctest.Wait()
			copied := t.TempDir()
			require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
			q, err := Open(copied, nil)
			require.NoError(t, err)
			defer q.Close()
			return q.Status().Pending
		}
		q := openQueue(t, dir, nil)
		require.NoError(t, q.Schedule(t.Context(), small(0), 2*time.Hour))
		require.NoError(t, q.Schedule(t.Context(), small(0), time.Hour))
		if got := left(); assert.Len(t, got, 1) {
			assert.Equal(t, time.Hour, time.Until(got[0].Due))
		}
		stop := run(t, q, takes(time.Minute))
		time.Sleep(time.Hour + time.Second)
		require.NoError(t, q.Schedule(t.Context(), whole(0), 3*time.Hour))
		if got := left(); assert.Len(t, got, 1) {
			assert.True(t, got[0].Zip)
			assert.Equal(t, 1, got[0].Attempts)
		}
		time.Sleep(time.Minute)
		if got := left(); assert.Len(t, got, 1, "the smaller one is done") {
			assert.True(t, got[0].Zip)
			assert.Zero(t, got[0].Attempts)
		}
		time.Sleep(3 * time.Hour)
		assert.Empty(t, left())
		stop()
		require.NoError(t, q.Close())
		assert.Empty(t, journals(t, dir))
	})
}

// A clock that was wrong does not delay a fill for ever.
func TestFarFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		q := openQueue(t, dir, nil)
		require.NoError(t, q.Schedule(t.Context(), small(0), 100*365*24*time.Hour))
		die(t, q)
		q = openQueue(t, dir, nil)
		assert.Equal(t, 24*time.Hour, time.Until(q.Status().Pending[0].Due).Round(time.Second))
		die(t, q)
	})
}

// Of those who could adopt, one does, whoever comes when.
func TestOneAdopts(t *testing.T) {
	if !flock.Supported {
		t.Skip("without flock a folder is for one process")
	}
	dir := t.TempDir()
	const fills, heirs = 20, 8
	q := openQueue(t, dir, nil)
	for i := range fills {
		require.NoError(t, q.Schedule(t.Context(), whole(i), time.Hour))
	}
	die(t, q)
	var mu sync.Mutex
	var pending []int64
	var all sync.WaitGroup
	for range heirs {
		all.Go(func() {
			q, err := Open(dir, nil)
			if assert.NoError(t, err) {
				mu.Lock()
				defer mu.Unlock()
				pending = append(pending, q.Status().Counts.Pending)
				t.Cleanup(func() { _ = q.Close() })
			}
		})
	}
	all.Wait()
	sum := int64(0)
	for _, n := range pending {
		assert.Contains(t, []int64{0, fills}, n)
		sum += n
	}
	assert.EqualValues(t, fills, sum)
	assert.Len(t, journals(t, dir), heirs)
}

// The living look for the dead now and then, and take what they have room for.
func TestTheLivingAdopt(t *testing.T) {
	if !flock.Supported {
		t.Skip("without flock a folder is for one process")
	}
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		living := openQueue(t, dir, &Options{Limit: 3})
		require.NoError(t, living.Schedule(t.Context(), small(0), time.Hour))
		require.NoError(t, living.Schedule(t.Context(), small(1), 3*time.Hour))
		dead := openQueue(t, dir, nil)
		require.NoError(t, dead.Schedule(t.Context(), small(1), 2*time.Hour))
		require.NoError(t, dead.Schedule(t.Context(), whole(2), 2*time.Hour))
		time.Sleep(2 * journal.AdoptInterval)
		synctest.Wait()
		assert.EqualValues(t, 2, living.Status().Counts.Pending, "of the living, it takes nothing")
		die(t, dead)
		time.Sleep(2 * journal.AdoptInterval)
		synctest.Wait()
		assert.EqualValues(t, 2, living.Status().Counts.Pending, "there is no room")

		w := &worker{Queue: living, t: t, begin: time.Now(), answer: takes(0)}
		stop := run(t, living, w.fill)
		time.Sleep(4 * time.Hour)
		assert.EqualValues(t, 3, living.Status().Counts.Done, "1 is one fill, at the earlier time")
		stop()
		require.NoError(t, living.Close())
		assert.Empty(t, journals(t, dir))
	})
}

// A journal is bounded, however much passes through it, and stays correct.
func TestCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		q := openQueue(t, dir, nil)
		stop := run(t, q, takes(0))
		for i := range 50 {
			require.NoError(t, q.Schedule(t.Context(), whole(100_000+i), 24*time.Hour))
		}
		grown := int64(0)
		for i := range 6000 {
			require.NoError(t, q.Schedule(t.Context(), small(i), 0))
			if i%500 == 0 {
				time.Sleep(2 * journal.SyncDelay)
				synctest.Wait()
				for _, file := range journals(t, dir) {
					info, err := os.Stat(file)
					require.NoError(t, err)
					grown = max(grown, info.Size())
				}
			}
		}
		time.Sleep(2 * journal.SyncDelay)
		assert.EqualValues(t, 6000, q.Status().Counts.Done)
		assert.Less(t, grown, int64(2*journal.MinGrowth))
		stop()
		die(t, q)
		assert.Len(t, journals(t, dir), 1)
		assert.EqualValues(t, 50, openQueue(t, dir, nil).Status().Counts.Pending)
	})
}

// Wherever a journal is cut off, what was written before counts.
func TestEveryCut(t *testing.T) {
	dir := t.TempDir()
	q := openQueue(t, dir, nil)
	for i := range 3 {
		require.NoError(t, q.Schedule(t.Context(), whole(i), time.Hour))
	}
	die(t, q)
	files := journals(t, dir)
	require.Len(t, files, 1)
	text, err := os.ReadFile(files[0])
	require.NoError(t, err)
	require.NoError(t, os.Remove(files[0]))
	for n := range len(text) + 1 {
		require.NoError(t, os.WriteFile(files[0], text[:n], 0o666))
		q, err := Open(dir, nil)
		require.NoError(t, err)
		assert.EqualValues(t, bytes.Count(text[:n], []byte{'\n'}), q.Status().Counts.Pending, "%d bytes", n)
		die(t, q)
		for _, file := range journals(t, dir) {
			require.NoError(t, os.Remove(file))
		}
	}
}

// What lies in the folder and is no journal fails no start.
func TestGarbageInTheFolder(t *testing.T) {
	dir := t.TempDir()
	var log bytes.Buffer
	require.NoError(t, os.MkdirAll(filepath.Join(dir, journal.Prefix+"folder"), 0o777))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "README"), []byte("hands off"), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, journal.Prefix+"x"), bytes.Repeat([]byte("garbage\n"), 1000), 0o666))
	require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, journal.Prefix+"link")))
	q := openQueue(t, dir, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	assert.Contains(t, log.String(), "damaged=1000")
	assert.Zero(t, q.Status().Counts.Pending)
	require.NoError(t, q.Close())
	assert.Len(t, journals(t, dir), 3)
	_, err := Open(filepath.Join(dir, "README"), nil)
	assert.Error(t, err, "not a folder")
	_, err = Open("", nil)
	assert.EqualError(t, err, "fill: Open needs a folder; dir is empty")
}

// Between Run's end and Close a fill is for the next start.
func TestScheduleAfterRun(t *testing.T) {
	dir := t.TempDir()
	q := openQueue(t, dir, nil)
	stop := run(t, q, takes(0))
	stop()
	require.NoError(t, q.Schedule(t.Context(), whole(0), 0))
	require.NoError(t, q.Close())
	require.NoError(t, q.Close())
	require.ErrorIs(t, q.Schedule(t.Context(), whole(1), 0), ErrClosed)
	q = openQueue(t, dir, nil)
	assert.Equal(t, "example.com/mod0", q.Status().Pending[0].Path)
	memory, err := New(nil)
	require.NoError(t, err)
	require.NoError(t, memory.Close(), "it has nothing to end")
}

// A disk that hangs holds no caller for long, nor fills the memory; what was
// scheduled meanwhile is written down when it is back.
func TestDiskThatHangs(t *testing.T) {
	dir := t.TempDir()
	var log modtest.Log
	q := openQueue(t, dir, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	release := q.journal.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.NoError(t, q.Schedule(ctx, whole(0), time.Hour))
	assert.Error(t, ctx.Err(), "it waits")
	assert.Contains(t, log.String(), "a kill may lose fills")
	n := 1
	for ; q.Status().Journal == ""; n++ {
		require.Less(t, n, journal.MaxQueuedBytes/100, "what waits for the disk is bounded")
		_, err := q.schedule(small(n), time.Now(), time.Hour)
		require.NoError(t, err)
	}
	assert.Equal(t, journal.ErrSlow.Error(), q.Status().Journal)
	require.NoError(t, q.Schedule(t.Context(), whole(0), time.Minute), "and waits no more")
	release()
	until(t, func() bool { return strings.Contains(log.String(), "survive a restart again") })
	assert.Empty(t, q.Status().Journal)
	die(t, q)
	assert.EqualValues(t, n, openQueue(t, dir, nil).Status().Counts.Pending)
}

// A disk that can't be written leaves the queue in memory, is told of once, and is
// made good when it can.
func TestDiskThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "fills")
		var log modtest.Log
		q := openQueue(t, dir, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		require.NoError(t, q.Schedule(t.Context(), small(0), time.Hour))

		// A folder that is a file takes nothing, not even from root.
		require.NoError(t, os.RemoveAll(dir))
		require.NoError(t, os.WriteFile(dir, nil, 0o666))
		q.journal.Fail(errors.New("no space left on device"))
		time.Sleep(10 * time.Minute)
		require.NoError(t, q.Schedule(t.Context(), whole(1), time.Hour))
		synctest.Wait()
		assert.NotEmpty(t, q.Status().Journal)
		assert.Equal(t, 1, strings.Count(log.String(), "level=ERROR"), log.String())

		require.NoError(t, os.Remove(dir))
		time.Sleep(2 * journal.SyncDelay)
		synctest.Wait()
		assert.Empty(t, q.Status().Journal)
		assert.Equal(t, 1, strings.Count(log.String(), "survive a restart again"))
		die(t, q)
		q = openQueue(t, dir, nil)
		assert.EqualValues(t, 2, q.Status().Counts.Pending)

		// One that somebody removes is missed before long.
		require.NoError(t, os.RemoveAll(dir))
		time.Sleep(2 * journal.AdoptInterval)
		synctest.Wait()
		die(t, q)
		q = openQueue(t, dir, nil)
		assert.EqualValues(t, 2, q.Status().Counts.Pending)
		require.NoError(t, q.Close())
	})
}

// until waits for what no event tells of.
func until(t *testing.T, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, time.Minute, 10*time.Millisecond)
}
