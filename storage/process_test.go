//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package storage_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// childEnv makes the test binary a process that works on a store: it names one
// of children, and what that is given.
const childEnv = "ATHENS_STORAGE_CHILD"

// childCommand is what childEnv says. A child's work stays on its first thread,
// which only works before main: strace counts the calls of each thread.
var childCommand = func() []string {
	args := strings.Fields(os.Getenv(childEnv))
	if len(args) > 0 {
		runtime.LockOSThread()
	}
	return args
}()

func TestMain(m *testing.M) {
	if len(childCommand) == 0 {
		os.Exit(modtest.Main(m))
	}
	if err := children[childCommand[0]](context.Background(), childCommand[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// children wait for a line on stdin, or its end, before they begin.
var children = map[string]func(ctx context.Context, args []string) error{
	// many DIR FROM TO: stores the versions v1.0.FROM up to v1.0.TO.
	"many": func(ctx context.Context, args []string) error {
		s, from, to, err := childArgs(args)
		for i := from; i < to && err == nil; i++ {
			err = storagetest.NewSample("example.com/mod", fmt.Sprintf("v1.0.%d", i), "").Store(ctx, s)
		}
		return err
	},
	// rival DIR N: puts v1.0.0 with content of its own.
	"rival": func(ctx context.Context, args []string) error {
		s, n, _, err := childArgs(append(args, "0"))
		if err != nil {
			return err
		}
		a := storagetest.NewSample("example.com/mod", "v1.0.0", strconv.Itoa(n))
		err = s.Put(ctx, a.Module, a.Info, a.Mod)
		var conflict *athens.ConflictError
		if errors.As(err, &conflict) {
			fmt.Println("conflict")
			return nil
		}
		if err == nil {
			fmt.Println("won")
		}
		return err
	},
	// endless DIR ROUND: stores versions until it is killed, and says which.
	"endless": func(ctx context.Context, args []string) error {
		s, round, _, err := childArgs(append(args, "0"))
		for i := 0; err == nil; i++ {
			a := endlessSample(round, i)
			if err = a.Put(ctx, s); err == nil {
				fmt.Println("put", i)
				err = a.Commit(ctx, s)
			}
			if err == nil {
				fmt.Println("committed", i)
			}
		}
		return err
	},
	// open DIR: opens each file of v1.0.0 three times.
	"open": func(ctx context.Context, args []string) error {
		s, _, _, err := childArgs(append(args, "0", "0"))
		a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
		for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
			for range 3 {
				if err != nil {
					return err
				}
				var obj *athens.Object
				if obj, err = s.Open(ctx, a.Module, f); err == nil {
					err = obj.Body.Close()
				}
			}
		}
		return err
	},
	// one DIR PATH TRIES: stores v1.1.0 of PATH, at once, and says how that went.
	"one": func(ctx context.Context, args []string) error {
		tries, err := strconv.Atoi(args[2])
		a := storagetest.NewSample(args[1], "v1.1.0", "")
		var s *storage.Store
		for ; tries > 0; tries-- {
			if s == nil {
				s, err = storage.NewDisk(args[0], nil)
			}
			if err == nil {
				err = a.Store(ctx, s)
			}
			if err == nil {
				fmt.Println("stored")
				return nil
			}
			fmt.Println("failed:", err)
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("a fault looks like a version that is not held: %w", err)
			}
			if s != nil {
				err = nil
			}
		}
		return nil
	},
	// take CHANGE DIR PATH TRIES: takes v1.0.0 of PATH back, and says how that went.
	"take": func(ctx context.Context, args []string) error {
		i := slices.IndexFunc(changes, func(c change) bool { return c.name == args[0] })
		tries, err := strconv.Atoi(args[3])
		if i < 0 || err != nil {
			return fmt.Errorf("no such change: %v", args)
		}
		a := storagetest.NewSample(args[2], "v1.0.0", "a")
		for ; tries > 0; tries-- {
			s, err := storage.NewDisk(args[1], nil)
			if err == nil {
				err = changes[i].do(ctx, s, a)
			}
			if err == nil {
				fmt.Println("done")
				return nil
			}
			fmt.Println("failed:", err)
			if errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("a fault looks like a version that is not held: %w", err)
			}
		}
		return nil
	},
	// stage DIR: writes a stage and keeps it open until stdin ends.
	"stage": func(ctx context.Context, args []string) error {
		s, _, _, err := childArgs(append(args, "0", "0"))
		if err != nil {
			return err
		}
		stage, err := s.Stage(ctx)
		if err != nil {
			return err
		}
		if _, err := stage.Write([]byte("half a zip")); err != nil {
			return err
		}
		fmt.Println("staged")
		_, err = io.Copy(io.Discard, os.Stdin)
		return err
	},
}

// childArgs opens the store, and then waits for the start.
func childArgs(args []string) (s *storage.Store, a, b int, err error) {
	s, err = storage.NewDisk(args[0], nil)
	a, aerr := strconv.Atoi(args[1])
	b, berr := strconv.Atoi(args[2])
	_, _ = os.Stdin.Read(make([]byte, 1))
	return s, a, b, errors.Join(err, aerr, berr)
}

// endlessSample has enough of a zip to be caught writing it.
func endlessSample(round, i int) storagetest.Sample {
	return storagetest.NewSample(fmt.Sprintf("example.com/round%d", round), fmt.Sprintf("v1.0.%d", i), strings.Repeat("x", 1+round))
}

// child is a process in the test's hands.
type child struct {
	*exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Scanner
	err   bytes.Buffer
}

func startChild(t *testing.T, args ...any) *child {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	c := &child{Cmd: exec.CommandContext(t.Context(), exe)}
	c.Env = append(os.Environ(), childEnv+"="+strings.TrimSpace(fmt.Sprintln(args...)))
	c.Stderr = &c.err
	c.stdin, err = c.StdinPipe()
	require.NoError(t, err)
	out, err := c.StdoutPipe()
	require.NoError(t, err)
	c.out = bufio.NewScanner(out)
	require.NoError(t, c.Start())
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait() // again, if all went well
	})
	return c
}

// finish reads what the child still says, and waits for its end.
func (c *child) finish() (lines []string, err error) {
	for c.out.Scan() {
		lines = append(lines, c.out.Text())
	}
	err = c.Wait()
	if err != nil {
		err = fmt.Errorf("%w: %q %s", err, lines, c.err.String())
	}
	return lines, err
}

func TestProcessesFillOneList(t *testing.T) {
	dir := t.TempDir()
	const processes, each = 4, 8
	children := make([]*child, processes)
	for i := range children {
		children[i] = startChild(t, "many", dir, i*each, (i+1)*each)
	}
	for _, c := range children {
		require.NoError(t, c.stdin.Close()) // go
	}
	for _, c := range children {
		_, err := c.finish()
		require.NoError(t, err)
	}
	var list strings.Builder
	s := newDisk(t, dir)
	for i := range processes * each {
		v := fmt.Sprintf("v1.0.%d", i)
		fmt.Fprintln(&list, v)
		require.NoError(t, storagetest.NewSample("example.com/mod", v, "").Whole(t.Context(), s))
	}
	assert.Equal(t, list.String(), content(t, filepath.Join(dir, "example.com/mod/@v/list")))
	assert.Len(t, tree(t, dir), 5*processes*each+1, "temporary files are left")
}

func TestProcessesRace(t *testing.T) {
	dir := t.TempDir()
	children := make([]*child, 4)
	for i := range children {
		children[i] = startChild(t, "rival", dir, i)
	}
	for _, c := range children {
		require.NoError(t, c.stdin.Close())
	}
	var won []int
	for i, c := range children {
		lines, err := c.finish()
		require.NoError(t, err)
		if require.Len(t, lines, 1); lines[0] == "won" {
			won = append(won, i)
		}
	}
	require.Len(t, won, 1)
	winner := storagetest.NewSample("example.com/mod", "v1.0.0", strconv.Itoa(won[0]))
	require.NoError(t, winner.Held(t.Context(), newDisk(t, dir)))
}

// TestSweep wants a live process's stage to stay, and a dead one's to go.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	live, dead := startChild(t, "stage", dir), startChild(t, "stage", dir)
	for _, c := range []*child{live, dead} {
		_, err := c.stdin.Write([]byte("\n"))
		require.NoError(t, err)
		require.True(t, c.out.Scan(), "%s", &c.err)
		require.Equal(t, "staged", c.out.Text())
	}
	stage := filepath.Join(dir, ".athens", "stage")
	write(t, filepath.Join(stage, "05-left-in-the-middle-of-a-put"), "half")
	write(t, filepath.Join(stage, "not-ours"), "?")
	newDisk(t, dir)
	assert.Len(t, tree(t, stage), 3, "two live stages, and what is not ours")
	require.NoError(t, dead.Process.Kill())
	_, err := dead.finish()
	require.Error(t, err)
	newDisk(t, dir)
	assert.Len(t, tree(t, stage), 2)
	require.NoError(t, live.stdin.Close())
	_, err = live.finish() // ends without closing its stage
	require.NoError(t, err)
	newDisk(t, dir)
	assert.Equal(t, []string{"not-ours"}, tree(t, stage))
}

// TestKill kills a process that stores versions, at random instants.
func TestKill(t *testing.T) {
	rounds := 100
	if testing.Short() {
		rounds = 15
	}
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	states := map[string]int{}
	for round := range rounds {
		c := startChild(t, "endless", dir, round)
		require.NoError(t, c.stdin.Close())
		require.True(t, c.out.Scan(), "%s", &c.err) // it is at work
		said := []string{c.out.Text()}
		<-time.After(time.Duration(random.IntN(10_000)) * time.Microsecond)
		require.NoError(t, c.Process.Kill())
		lines, err := c.finish()
		require.Error(t, err)
		said = append(said, lines...)

		s := newDisk(t, dir)
		require.Empty(t, tree(t, filepath.Join(dir, ".athens", "stage")), "not swept")
		puts, commits := 0, 0
		for _, line := range said {
			switch {
			case strings.HasPrefix(line, "put "):
				puts++
			case strings.HasPrefix(line, "committed "):
				commits++
			}
		}
		for i := range commits {
			require.NoError(t, endlessSample(round, i).Whole(t.Context(), s))
		}
		if puts > commits {
			require.NoError(t, endlessSample(round, commits).Held(t.Context(), s))
		}
		last := endlessSample(round, commits)
		states[wholeOrNot(t, s, last)]++
		require.NoError(t, last.Store(t.Context(), s))
		require.NoError(t, last.Whole(t.Context(), s))
	}
	t.Logf("what was cut off was then: %v", states)
}

// wholeOrNot wants a to be absent, held without zip, or whole, whatever else
// its module has.
func wholeOrNot(t *testing.T, s *storage.Store, a storagetest.Sample) string {
	t.Helper()
	if a.Whole(t.Context(), s) == nil {
		return "whole"
	}
	if a.Held(t.Context(), s) == nil {
		_, err := s.Open(t.Context(), a.Module, athens.ZipFile)
		require.ErrorIs(t, err, os.ErrNotExist)
		return "held"
	}
	for _, f := range []athens.File{athens.InfoFile, athens.ModFile, athens.ZipFile} {
		_, err := s.Open(t.Context(), a.Module, f)
		require.ErrorIs(t, err, os.ErrNotExist)
	}
	return "absent"
}
