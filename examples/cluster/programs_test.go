package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "cluster-")
	if err != nil {
		panic(err)
	}
	built.dir = dir
	status := modtest.Main(m)
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// built are the programs of a cluster that this test process has built once: the linker
// takes ten seconds for them.
var built struct {
	dir  string // TestMain makes and removes it
	once sync.Once
	programs
	err error
}

// programsIn puts the programs of a cluster where a cluster with that folder builds them.
// Its build then looks at all sources and finds that the programs are of these.
func programsIn(t *testing.T, dir string) string {
	t.Helper()
	built.once.Do(func() {
		built.programs, built.err = build(context.Background(), built.dir, &options{bucket: "there"}, io.Discard)
	})
	require.NoError(t, built.err)
	bin := filepath.Join(dir, "bin")
	require.NoError(t, os.MkdirAll(bin, 0o777))
	for _, program := range []string{built.replica, built.queue} {
		require.NoError(t, os.Link(program, filepath.Join(bin, filepath.Base(program))))
	}
	return bin
}
