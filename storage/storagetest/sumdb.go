package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/athens-go/athens"
)

// sumdbCases are about stores that keep what checksum databases said; others
// pass.
var sumdbCases = []Case{
	{"sumdb", "GetSumDB returns what was put under that very name, byte for byte; what was not is fs.ErrNotExist", twice(checkSumDB)},
	{"sumdb-copies", "what was given to PutSumDB, and what GetSumDB returned, may be changed afterwards", alone(keeping(checkSumDBCopies))},
	{"sumdb-replace", "PutSumDB replaces what was there, whole, while others read and write", twice(checkSumDBReplace)},
	{"sumdb-reopen", "what was put is there when the store is opened again", checkSumDBReopen},
	{"sumdb-apart", "what is kept of checksum databases is no module", alone(keeping(checkSumDBApart))},
	{"sumdb-bad", "names that lead elsewhere, and data that is empty or too large, are refused", alone(keeping(checkSumDBBad))},
	{"sumdb-canceled", "GetSumDB and PutSumDB whose context is done return its error and have no effect", alone(keeping(checkSumDBCanceled))},
}

// keeping makes a check for stores that have the ability.
func keeping(check func(context.Context, athens.Storage, athens.SumDBStore) error) func(context.Context, athens.Storage) error {
	return func(ctx context.Context, st athens.Storage) error {
		if k, ok := st.(athens.SumDBStore); ok {
			return check(ctx, st, k)
		}
		return nil
	}
}

// sumdbNames differ in what a careless store would lose.
var sumdbNames = []string{
	"sum.example.com/head",
	"sum.example.com/tile/8/0/x001/234",
	"sum.example.com/tile/8/0/001.p/234",
	"sum.example.com/tile/8/0/001",
	"sum.example.com/lookup/example.com/mod@v1.0.0",
	"sum.example.com/lookup/example.com/!mod@v1.0.0",
	"sum.example.com/lookup/example.com/mod/v2@v2.0.0-!r!c.1",
	"sum.example.com/lookup/example.com/a~b_c.d-e@v0.0.0-20200101000000-abcdefabcdef",
	"sum.example.com/lookup/example.com/mod@v2.0.0+incompatible",
	"sum.example.org/head",
}

func checkSumDB(ctx context.Context, a, b athens.Storage) error {
	from, ok1 := a.(athens.SumDBStore)
	to, ok2 := b.(athens.SumDBStore)
	if !ok1 || !ok2 {
		return nil
	}
	content := func(name string) []byte { return append([]byte(name), 0, '\r', '\n', 0xff) }
	for i, name := range sumdbNames {
		for j, other := range sumdbNames {
			want := content(other)
			if j >= i {
				want = nil
			}
			if err := sumdbHas(ctx, to, other, want); err != nil {
				return err
			}
		}
		for range 2 { // the same again is no error
			if err := from.PutSumDB(ctx, name, content(name)); err != nil {
				return fmt.Errorf("PutSumDB of %s: %w", name, err)
			}
		}
		if err := sumdbHas(ctx, to, name, content(name)); err != nil {
			return err
		}
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if err := from.PutSumDB(ctx, sumdbNames[0], large); err != nil {
		return fmt.Errorf("PutSumDB of 1 MiB: %w", err)
	}
	return sumdbHas(ctx, to, sumdbNames[0], large)
}

// sumdbHas checks what is kept under name; nil means nothing.
func sumdbHas(ctx context.Context, k athens.SumDBStore, name string, want []byte) error {
	got, err := k.GetSumDB(ctx, name)
	switch {
	case want == nil && !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("nothing is kept under %s, and GetSumDB has the error %v, want fs.ErrNotExist", name, err)
	case want != nil && err != nil:
		return fmt.Errorf("GetSumDB of %s: %w", name, err)
	case !bytes.Equal(got, want):
		return fmt.Errorf("GetSumDB of %s returns %.80q, want %.80q", name, got, want)
	}
	return nil
}

func checkSumDBCopies(ctx context.Context, _ athens.Storage, k athens.SumDBStore) error {
	name, data := sumdbNames[0], []byte("first")
	if err := k.PutSumDB(ctx, name, data); err != nil {
		return err
	}
	clear(data)
	got, err := k.GetSumDB(ctx, name)
	if err != nil || string(got) != "first" {
		return fmt.Errorf("after the slice was changed GetSumDB returns %q, %v, want first", got, err)
	}
	clear(got)
	return sumdbHas(ctx, k, name, []byte("first"))
}

func checkSumDBReplace(ctx context.Context, a, b athens.Storage) error {
	k, ok := b.(athens.SumDBStore)
	if !ok {
		return nil
	}
	const rounds = 20
	name := sumdbNames[0]
	content := func(writer, i int) []byte { return bytes.Repeat([]byte{'a' + byte(writer)}, 1000*(i%3+1)) }
	if err := k.PutSumDB(ctx, name, content(0, 0)); err != nil {
		return err
	}
	done := make(chan error, 2)
	for writer, st := range []athens.Storage{a, b} {
		go func() {
			var err error
			for i := 0; i < rounds && err == nil; i++ {
				err = st.(athens.SumDBStore).PutSumDB(ctx, name, content(writer, i))
			}
			done <- err
		}()
	}
	for ended := 0; ended < 2; {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("PutSumDB beside another: %w", err)
			}
			ended++
		default:
		}
		got, err := k.GetSumDB(ctx, name)
		if err != nil {
			return fmt.Errorf("GetSumDB beside PutSumDB: %w", err)
		}
		if n := len(got); n == 0 || n%1000 != 0 || bytes.Count(got, got[:1]) != n {
			return fmt.Errorf("GetSumDB beside PutSumDB returns %d bytes that nobody put", n)
		}
	}
	if err := k.PutSumDB(ctx, name, []byte("last")); err != nil {
		return err
	}
	return sumdbHas(ctx, k, name, []byte("last"))
}

func checkSumDBReopen(ctx context.Context, open Open) error {
	err := alone(keeping(func(ctx context.Context, _ athens.Storage, k athens.SumDBStore) error {
		return k.PutSumDB(ctx, sumdbNames[1], []byte("kept"))
	}))(ctx, open)
	if err != nil {
		return err
	}
	return alone(keeping(func(ctx context.Context, _ athens.Storage, k athens.SumDBStore) error {
		return sumdbHas(ctx, k, sumdbNames[1], []byte("kept"))
	}))(ctx, open)
}

func checkSumDBApart(ctx context.Context, st athens.Storage, k athens.SumDBStore) error {
	s := ordinary()
	if err := s.Store(ctx, st); err != nil {
		return err
	}
	for _, name := range append(sumdbNames, "example.com/!some/mod/@v/v1.9.0.mod", "sum.example.com/@v/v1.0.0.mod") {
		if err := k.PutSumDB(ctx, name, []byte("module x\n")); err != nil {
			return fmt.Errorf("PutSumDB of %s: %w", name, err)
		}
	}
	if err := s.Whole(ctx, st); err != nil {
		return err
	}
	if err := versions(ctx, st, s.Module.Path, s.Module.Version); err != nil {
		return err
	}
	c, ok := st.(athens.Lister)
	if !ok {
		return nil
	}
	got, err := walked(ctx, c)
	if err == nil && len(got) != 1 {
		err = fmt.Errorf("All names %v, want %s only", got, s.Module)
	}
	return err
}

func checkSumDBBad(ctx context.Context, _ athens.Storage, k athens.SumDBStore) error {
	for _, name := range []string{"", ".", "..", "../head", "/head", "sum.example.com/../../head", "sum.example.com//head", "sum.example.com/"} {
		if err := k.PutSumDB(ctx, name, []byte("x")); err == nil {
			return fmt.Errorf("PutSumDB takes the name %q", name)
		}
		if _, err := k.GetSumDB(ctx, name); err == nil {
			return fmt.Errorf("GetSumDB takes the name %q", name)
		}
	}
	for _, data := range [][]byte{nil, make([]byte, 1<<20+1)} {
		if err := k.PutSumDB(ctx, sumdbNames[0], data); err == nil {
			return fmt.Errorf("PutSumDB takes %d bytes", len(data))
		}
	}
	return sumdbHas(ctx, k, sumdbNames[0], nil)
}

func checkSumDBCanceled(ctx context.Context, _ athens.Storage, k athens.SumDBStore) error {
	done, cancel := context.WithCancel(ctx)
	cancel()
	if err := k.PutSumDB(done, sumdbNames[0], []byte("x")); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("PutSumDB has the error %v, want context.Canceled", err)
	}
	if _, err := k.GetSumDB(done, sumdbNames[0]); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("GetSumDB has the error %v, want context.Canceled", err)
	}
	return sumdbHas(ctx, k, sumdbNames[0], nil)
}
