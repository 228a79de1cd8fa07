package fill

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill/internal/journal"
	"github.com/athens-go/athens/internal/modtest"
)

// childEnv makes the test binary a process that fills: a folder, and the number of
// its first version.
const childEnv = "ATHENS_FILL_CHILD"

func TestMain(m *testing.M) {
	dir, first, ok := strings.Cut(os.Getenv(childEnv), "|")
	if !ok {
		os.Exit(modtest.Main(m))
	}
	n, err := strconv.Atoi(first)
	if err == nil {
		err = child(dir, n)
	}
	fmt.Println(err)
	os.Exit(1)
}

// child schedules fills for later and prints the number of each that was accepted,
// and does others, so that its journal is written anew all the time.
func child(dir string, first int) error {
	q, err := open(dir, nil, journal.Options{MinGrowth: 512, SyncDelay: 1})
	if err != nil {
		return err
	}
	go q.Run(context.Background(), func(context.Context, athens.Fill) error { return nil })
	for i, accepted := first, 0; ; i++ {
		if accepted < 100 {
			begin := time.Now()
			if err := q.Schedule(context.Background(), whole(i), time.Hour); err != nil {
				return err
			}
			// On a busy machine the kernel may not have it yet: nobody waits for longer.
			if time.Since(begin) < journal.Patience {
				accepted++
				fmt.Println(i)
			}
		}
		// Refused when there are too many.
		_ = q.Schedule(context.Background(), small(1_000_000+i), 0)
	}
}

// TestKilled kills processes at random instants, on one folder: when they adopt
// what the last has left, when they write, and when they write anew. What any of
// them has accepted is there in the end.
func TestKilled(t *testing.T) {
	rounds := 5
	if os.Getenv("ATHENS_SOAK") != "" {
		rounds = 40
	}
	kills, accepted := 0, 0
	for range rounds {
		dir := t.TempDir()
		var all []int
		for i := range 5 {
			all = append(all, killChild(t, dir, 2000*i, 1+rand.N(100), rand.N(5*time.Millisecond))...)
			all = append(all, killChild(t, dir, 2000*i+1000, 0, rand.N(25*time.Millisecond))...) // while it adopts, with luck
			kills += 2
		}
		q := openQueue(t, dir, nil)
		for _, n := range all {
			j, ok := q.jobs[version(n)]
			require.True(t, ok, "%d was forgotten", n)
			assert.True(t, j.zip)
		}
		assert.Len(t, journals(t, dir), 1, "those of the dead are removed")
		accepted += len(all)
	}
	t.Logf("%d kills, %d fills were accepted", kills, accepted)
}

// killChild kills a child a moment after it has accepted some fills (0: was
// started), and returns which it has.
func killChild(t *testing.T, dir string, first, some int, moment time.Duration) (accepted []int) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s|%d", childEnv, dir, first))
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	limit := time.Minute
	if some == 0 {
		limit = moment
	}
	timer := time.AfterFunc(limit, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		require.NoError(t, err, lines.Text())
		accepted = append(accepted, n)
		if len(accepted) == some {
			<-time.After(moment)
			require.NoError(t, cmd.Process.Kill())
		}
	}
	require.Error(t, cmd.Wait(), "it was killed")
	return accepted
}
