package blob_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/stretchr/testify/require"
)

// passLarge stores a zip of so many MiB, reads it again, and prints how large
// the heap was at most before and after each, in MiB.
func passLarge(ctx context.Context, store *blob.Store, mib string) error {
	n, err := strconv.ParseInt(mib, 10, 64)
	if err != nil {
		return err
	}
	s := sample("v1.0.0")
	if err := s.Put(ctx, store); err != nil {
		return err
	}
	fmt.Println(peak())
	stage, err := store.Stage(ctx)
	if err != nil {
		return err
	}
	defer stage.Close()
	piece := make([]byte, 1<<20)
	for i := range n {
		piece[0] = byte(i)
		if _, err := stage.Write(piece); err != nil {
			return err
		}
	}
	if err := stage.Commit(ctx, s.Module, s.H1); err != nil {
		return err
	}
	fmt.Println(peak())
	obj, err := store.Open(ctx, s.Module, athens.ZipFile)
	if err != nil {
		return err
	}
	defer obj.Body.Close()
	for i := range n {
		if _, err := io.ReadFull(obj.Body, piece); err != nil {
			return err
		}
		if piece[0] != byte(i) {
			return fmt.Errorf("MiB %d is another", i)
		}
	}
	fmt.Println(peak())
	return nil
}

// peak is the largest heap that this process has had so far, in MiB.
func peak() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapSys >> 20
}

// A zip passes through in little memory, however large it is.
func TestLargeZip(t *testing.T) {
	server := newServer(t)
	mib, bound := "160", 128 // under the race detector it takes half as much again
	if os.Getenv("ATHENS_SOAK") != "" {
		mib = "300"
	}
	cmd := command(t.Context(), t, server, "large "+server.URL("modules")+" "+mib)
	cmd.Env = append(cmd.Env, "GOMEMLIMIT=off", "GOGC=25") // a collector that begins late would be measured, too
	out, err := cmd.Output()
	require.NoError(t, err)
	t.Logf("%s MiB; at most, in MiB: before, after Commit, after reading: %s", mib, strings.Join(strings.Fields(string(out)), ", "))
	var before, committed, read int
	_, err = fmt.Sscan(string(out), &before, &committed, &read)
	require.NoError(t, err)
	require.Less(t, read-before, bound)
}
