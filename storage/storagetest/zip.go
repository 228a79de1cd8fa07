package storagetest

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync/atomic"

	"github.com/athens-go/athens"
)

// zipCases are about Stage and Commit.
var zipCases = []Case{
	{"commit", "Commit makes what was written the zip of a version", twice(checkCommit)},
	{"commit-before-put", "Commit of a version that was not Put is fs.ErrNotExist, and works once it was", alone(checkCommitBeforePut)},
	{"commit-again", "a Commit of the same h1 changes nothing and returns nil; the zip stored first stays", alone(checkCommitAgain)},
	{"commit-conflict", "a Commit of another h1 is a conflict and changes nothing", alone(checkCommitConflict)},
	{"discard", "Close discards what was not committed, a second Close does nothing", alone(checkDiscard)},
	{"close-committed", "Close after Commit leaves the zip", alone(checkCloseCommitted)},
	{"read-beside", "ReadAt returns what has been written while more is being written", alone(checkReadBeside)},
	{"read-committed", "ReadAt still works after Commit, until Close", alone(checkReadCommitted)},
}

func checkCommit(ctx context.Context, a, b athens.Storage) error {
	s := ordinary()
	s.Zip, s.H1 = makeZip(s.Module, zip.Store, map[string]string{
		"go.mod": string(s.Mod),
		"big.go": "package big // " + strings.Repeat("0123456789abcdef", 1<<17),
	})
	if err := s.Store(ctx, a); err != nil {
		return err
	}
	if err := s.Whole(ctx, a); err != nil {
		return err
	}
	return s.Whole(ctx, b)
}

func checkCommitBeforePut(ctx context.Context, st athens.Storage) error {
	s := ordinary()
	if err := NewSample(s.Module.Path, "v1.0.0", "").Put(ctx, st); err != nil {
		return err
	}
	stage, err := st.Stage(ctx)
	if err != nil {
		return err
	}
	defer stage.Close()
	if _, err := stage.Write(s.Zip); err != nil {
		return err
	}
	if err := stage.Commit(ctx, s.Module, s.H1); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("Commit before Put: %v, want fs.ErrNotExist", err)
	}
	if err := missing(ctx, st, s.Module, athens.InfoFile, athens.ModFile, athens.ZipFile); err != nil {
		return err
	}
	if err := s.Put(ctx, st); err != nil {
		return err
	}
	if err := missing(ctx, st, s.Module, athens.ZipFile); err != nil {
		return fmt.Errorf("after Put: %w", err)
	}
	if err := stage.Commit(ctx, s.Module, s.H1); err != nil {
		return fmt.Errorf("Commit after Put: %w", err)
	}
	return s.Whole(ctx, st)
}

func checkCommitAgain(ctx context.Context, st athens.Storage) error {
	s, again := ordinary(), ordinary()
	files := map[string]string{"go.mod": string(s.Mod), "a.go": "package a // " + strings.Repeat("same ", 99)}
	s.Zip, s.H1 = makeZip(s.Module, zip.Deflate, files)
	again.Zip, again.H1 = makeZip(s.Module, zip.Store, files)
	if err := s.Store(ctx, st); err != nil {
		return err
	}
	if err := again.Commit(ctx, st); err != nil {
		return fmt.Errorf("Commit of the same h1: %w", err)
	}
	return s.Whole(ctx, st)
}

func checkCommitConflict(ctx context.Context, st athens.Storage) error {
	s, other := ordinary(), ordinary()
	other.Zip, other.H1 = makeZip(s.Module, zip.Deflate, map[string]string{"go.mod": string(s.Mod), "a.go": "package other\n"})
	if err := s.Store(ctx, st); err != nil {
		return err
	}
	if err := conflict(other.Commit(ctx, st), s.Module, athens.ZipFile); err != nil {
		return fmt.Errorf("Commit of another zip: %w", err)
	}
	return s.Whole(ctx, st)
}

func checkDiscard(ctx context.Context, st athens.Storage) error {
	s := ordinary()
	if err := s.Put(ctx, st); err != nil {
		return err
	}
	stage, err := st.Stage(ctx)
	if err != nil {
		return err
	}
	if _, err := stage.Write(s.Zip); err != nil {
		return err
	}
	for _, which := range []string{"first", "second"} {
		if err := stage.Close(); err != nil {
			return fmt.Errorf("the %s Close: %w", which, err)
		}
	}
	if err := stage.Commit(ctx, s.Module, s.H1); err == nil {
		return errors.New("Commit after Close: no error")
	}
	if err := missing(ctx, st, s.Module, athens.ZipFile); err != nil {
		return err
	}
	return s.Held(ctx, st)
}

func checkCloseCommitted(ctx context.Context, st athens.Storage) error {
	s := ordinary()
	if err := s.Store(ctx, st); err != nil { // closes
		return err
	}
	if err := s.Whole(ctx, st); err != nil {
		return err
	}
	if err := s.Commit(ctx, st); err != nil { // has nothing to do, and closes
		return err
	}
	return s.Whole(ctx, st)
}

// checkReadBeside lets readers follow a writer.
func checkReadBeside(ctx context.Context, st athens.Storage) error {
	stage, err := st.Stage(ctx)
	if err != nil {
		return err
	}
	defer stage.Close()
	content := bytes.Repeat([]byte("0123456789abcdefghijklmnopqrstuvwxyz\n"), 1000)
	const chunk = 512
	var written atomic.Int64
	readers := make(chan error, 4)
	for range cap(readers) {
		go func() { readers <- follow(stage, content, &written) }()
	}
	var werr error
	for at := 0; at < len(content) && werr == nil; at += chunk {
		var n int
		n, werr = stage.Write(content[at:min(at+chunk, len(content))])
		written.Add(int64(n))
	}
	if werr != nil {
		written.Store(int64(len(content))) // lets the readers end
	}
	for range cap(readers) {
		if err := <-readers; werr == nil {
			werr = err
		}
	}
	if werr != nil {
		return werr
	}
	n, err := stage.ReadAt(make([]byte, 10), int64(len(content))-4)
	if n != 4 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("ReadAt across the end: %d, %v, want 4 and io.EOF", n, err)
	}
	return nil
}

// follow reads what has been written, from several offsets, until all is.
func follow(stage athens.Stage, content []byte, written *atomic.Int64) error {
	for {
		n := written.Load()
		for _, at := range []int64{0, n / 3, max(0, n-100)} {
			got := make([]byte, n-at)
			if m, err := stage.ReadAt(got, at); int64(m) < n-at {
				return fmt.Errorf("ReadAt: %d of the %d bytes written so far: %w", m, n-at, err)
			}
			if !bytes.Equal(got, content[at:n]) {
				return fmt.Errorf("ReadAt from %d to %d returned other bytes than were written", at, n)
			}
		}
		if n == int64(len(content)) {
			return nil
		}
	}
}

func checkReadCommitted(ctx context.Context, st athens.Storage) error {
	s := ordinary()
	if err := s.Put(ctx, st); err != nil {
		return err
	}
	for _, which := range []string{"a Commit", "a Commit that had nothing to do"} {
		stage, err := st.Stage(ctx)
		if err != nil {
			return err
		}
		_, err = stage.Write(s.Zip)
		if err == nil {
			err = stage.Commit(ctx, s.Module, s.H1)
		}
		got := make([]byte, len(s.Zip))
		if err == nil {
			var n int
			if n, err = stage.ReadAt(got, 0); n == len(got) {
				err = nil // io.EOF may come along
			}
		}
		if err == nil && !bytes.Equal(got, s.Zip) {
			err = errors.New("other bytes than were written")
		}
		if err = errors.Join(err, stage.Close()); err != nil {
			return fmt.Errorf("ReadAt after %s: %w", which, err)
		}
	}
	return nil
}
