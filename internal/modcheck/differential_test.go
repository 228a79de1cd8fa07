package modcheck

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

// goCommand does with a downloaded zip what the go command does: it looks at the
// prefix of each name, hashes the zip and extracts it.
func goCommand(t testing.TB, b []byte) (h1 string, err error) {
	dir := t.TempDir()
	file := filepath.Join(dir, "m.zip")
	require.NoError(t, os.WriteFile(file, b, 0o600))
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return "", err
	}
	for _, f := range z.File {
		if !strings.HasPrefix(f.Name, prefix) {
			return "", fmt.Errorf("unexpected file %s", f.Name)
		}
	}
	if h1, err = dirhash.HashZip(file, dirhash.Hash1); err != nil {
		return "", err
	}
	return h1, modzip.Unzip(filepath.Join(dir, "m"), mod, file)
}

// agree fails if this package and the go command do not do the same with a zip.
func agree(t testing.TB, b []byte) (accepted bool) {
	t.Helper()
	got, err := ZipAlone(bytes.NewReader(b), int64(len(b)), mod, modzip.MaxZipFile)
	want, wantErr := goCommand(t, b)
	if ofTheDisk := new(os.PathError); errors.As(wantErr, &ofTheDisk) {
		return false // such as a name that is too long for the file system
	}
	switch {
	case (err == nil) != (wantErr == nil):
		t.Errorf("modcheck: %v\nthe go command: %v\nzip: %q", err, wantErr, b)
	case err == nil && got != want:
		t.Errorf("modcheck has hash %s, the go command %s\nzip: %q", got, want, b)
	}
	return err == nil
}

// entries are the names that random zips are made of. They are legal and illegal,
// and some are there several times so that they collide.
var entries = []string{
	"go.mod", "go.mod", "GO.MOD", "sub/go.mod", "LICENSE", "a.go", "a.go", "A.go", "a.go/", "sub/", "sub/", "sub/b.go", "sub/B.go", "Sub/b.go",
	"sub", "", "/", "//", "./a.go", "x/../a.go", "..", "aux.go", "a\\b", "a\nb", "\u212a", "k", "é", "a\xff", "vendor/modules.txt", ".git/x", "a b", "a:b",
}

// randomZip makes a zip of some entries and then damages it, or not.
func randomZip(t testing.TB, rnd *rand.Rand) []byte {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for range rnd.IntN(5) {
		name := prefix + entries[rnd.IntN(len(entries))]
		if rnd.IntN(40) == 0 {
			name = strings.TrimPrefix(name, "e")
		}
		body := strings.Repeat("x", rnd.IntN(3)*rnd.IntN(40))
		header := &zip.FileHeader{Name: name, Method: uint16(rnd.IntN(2) * 8)}
		header.SetMode(os.FileMode(rnd.Uint32()))
		switch {
		case rnd.IntN(12) == 0 && !strings.HasSuffix(name, "/"): // sizes and a checksum that are made up
			header.CompressedSize64, header.UncompressedSize64 = uint64(len(body)), uint64(rnd.IntN(60))
			f, err := w.CreateRaw(header)
			require.NoError(t, err)
			_, err = f.Write([]byte(body))
			require.NoError(t, err)
		case strings.HasSuffix(name, "/"):
			_, err := w.CreateHeader(header)
			require.NoError(t, err)
		default:
			f, err := w.CreateHeader(header)
			require.NoError(t, err)
			_, err = f.Write([]byte(body))
			require.NoError(t, err)
		}
	}
	require.NoError(t, w.Close())
	b := buf.Bytes()
	for range rnd.IntN(3) {
		damage(b, rnd)
	}
	if rnd.IntN(20) == 0 {
		b = b[:len(b)-rnd.IntN(len(b))]
	}
	return b
}

// damage changes a field of a header, or any byte.
func damage(b []byte, rnd *rand.Rand) {
	for _, signature := range []string{"PK\x03\x04", "PK\x01\x02", "PK\x07\x08", "PK\x05\x06"}[rnd.IntN(4):] {
		at := bytes.Index(b, []byte(signature))
		if at < 0 || rnd.IntN(2) == 0 {
			continue
		}
		if at += rnd.IntN(46); at+4 <= len(b) {
			binary.LittleEndian.PutUint32(b[at:], []uint32{0, 1, 4, 0xffff, 0xffffffff, rnd.Uint32(), uint32(len(b))}[rnd.IntN(7)])
		}
		return
	}
	b[rnd.IntN(len(b))] ^= byte(1 << rnd.IntN(8))
}

// A zip that the go command can use is accepted, and no other is.
func TestZipAgreesWithTheGoCommand(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	accepted := 0
	for range 3000 {
		if agree(t, randomZip(t, rnd)) {
			accepted++
		}
		if t.Failed() {
			return
		}
	}
	require.Greater(t, accepted, 300, "zips that are accepted are tried as well")
}

// What a zip can be like that is neither plainly right nor plainly wrong.
func TestZipEdgesAgreeWithTheGoCommand(t *testing.T) {
	folder := pack(t, prefix+"sub/", "", prefix+"sub/b.go", "package sub\n")
	twice := pack(t, prefix+"sub/", "", prefix+"sub/", "")
	for name, c := range map[string]struct {
		zip []byte
		ok  bool
	}{
		"no go.mod":                        {pack(t, prefix+"a.go", "package m\n"), true},
		"nothing":                          {pack(t), true},
		"the module's own folder":          {pack(t, prefix, ""), true},
		"a folder":                         {folder, true},
		"a folder twice":                   {twice, true},
		"a folder with a broken header":    {bytes.Replace(bytes.Clone(folder), []byte("PK\x03\x04"), []byte("PK\x03\x05"), 1), false},
		"the first of two is broken":       {bytes.Replace(bytes.Clone(twice), []byte("PK\x03\x04"), []byte("PK\x03\x05"), 1), true},
		"a folder with content":            {bytes.ReplaceAll(pack(t, prefix+"a_", "abc"), []byte(prefix+"a_"), []byte(prefix+"a/")), false},
		"something before the first entry": {append([]byte("#!/bin/sh\n"), folder...), true},
		"something after the end":          {append(bytes.Clone(folder), "tail"...), true},
		"a file that reaches too far":      {tooFar(t), false}, // its data descriptor is not found
	} {
		t.Run(name, func(t *testing.T) {
			if accepted := agree(t, c.zip); accepted != c.ok {
				t.Errorf("accepted: %v", accepted)
			}
		})
	}
}

// tooFar is a zip with a compressed file that is said to be longer than it is, by
// more than there is behind it. Its compressed form says itself where it ends.
func tooFar(t testing.TB) []byte {
	b := pack(t, prefix+"a.go", strings.Repeat("package m\n", 9))
	at := bytes.Index(b, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(b[at+20:], uint32(len(b)))
	return b
}

func FuzzZip(f *testing.F) {
	f.Add(pack(f, prefix+"go.mod", "module example.com/m\n", prefix+"a.go", "package m\n"), "module example.com/m\n")
	f.Add(pack(f, prefix+"a/", "", prefix+"a/b", "x"), "")
	f.Add(tooFar(f), "")
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 50 {
		f.Add(randomZip(f, rnd), "module example.com/m\n")
	}
	f.Fuzz(func(t *testing.T, b []byte, gomod string) {
		agree(t, b)
		if h1, err := check(b, gomod); err == nil {
			alone, err := ZipAlone(bytes.NewReader(b), int64(len(b)), mod, 1<<20)
			require.NoError(t, err)
			require.Equal(t, alone, h1)
		}
	})
}
