package modcheck

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

var mod = module.Version{Path: "example.com/m", Version: "v1.0.0"}

const prefix = "example.com/m@v1.0.0/"

// pack makes a zip of name, content pairs.
func pack(t testing.TB, pairs ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		f, err := w.Create(pairs[i])
		require.NoError(t, err)
		_, err = f.Write([]byte(pairs[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func check(b []byte, gomod string) (string, error) {
	return Zip(bytes.NewReader(b), int64(len(b)), mod, []byte(gomod), 1<<20)
}

func TestZipHashIsTheGoCommands(t *testing.T) {
	gomod := "module example.com/m\n"
	b := pack(t, prefix+"go.mod", gomod, prefix+"a.go", "package m\n", prefix+"sub/b.go", "package sub\n")
	file := filepath.Join(t.TempDir(), "m.zip")
	require.NoError(t, os.WriteFile(file, b, 0o600))
	_, err := modzip.CheckZip(mod, file)
	require.NoError(t, err)
	want, err := dirhash.HashZip(file, dirhash.Hash1)
	require.NoError(t, err)
	got, err := check(b, gomod)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// ZipAlone and GoMod are Zip in two halves.
func TestZipHalves(t *testing.T) {
	gomod := "module example.com/m\n"
	b := pack(t, prefix+"go.mod", gomod, prefix+"a.go", "package m\n")
	r, size := bytes.NewReader(b), int64(len(b))
	want, err := check(b, gomod)
	require.NoError(t, err)
	got, err := ZipAlone(r, size, mod, 1<<20)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	require.NoError(t, GoMod(r, size, mod, []byte(gomod), 1<<20))
	for _, other := range []string{"", gomod + "\n", "module example.com/n\n"} {
		_, err := check(b, other)
		require.Error(t, err)
		assert.EqualError(t, GoMod(r, size, mod, []byte(other), 1<<20), err.Error())
	}
	for _, limit := range []int64{0, size - 1} {
		_, err := ZipAlone(r, size, mod, limit)
		require.Error(t, err)
		require.Error(t, GoMod(r, size, mod, []byte(gomod), limit))
	}
}

func TestZipAttributesMayChangeGoMod(t *testing.T) {
	_, err := check(pack(t, prefix+"go.mod", "// $Id: 1234 $\r\nmodule example.com/m\r\n"), "// $Id$\nmodule example.com/m\n")
	assert.NoError(t, err)
}

func TestZipWithoutGoMod(t *testing.T) {
	b := pack(t, prefix+"a.go", "package m\n")
	_, err := check(b, "module example.com/m\n")
	assert.NoError(t, err)
	_, err = check(b, "module example.com/m\n\nrequire example.com/evil v1.0.0\n")
	assert.ErrorContains(t, err, "no go.mod")
	assert.NoError(t, GoMod(bytes.NewReader(b), int64(len(b)), mod, []byte("module example.com/m // other\n"), 1<<20))
}

func TestZipRefuses(t *testing.T) {
	gomod := "module example.com/m\n"
	for name, c := range map[string]struct {
		zip  []byte
		want string
	}{
		"not a zip":       {[]byte("<html>"), "not a zip"},
		"truncated":       {pack(t, prefix+"go.mod", gomod)[:60], "not a zip"},
		"wrong prefix":    {pack(t, "example.com/m@v1.0.1/go.mod", gomod), "outside of"},
		"absolute":        {pack(t, "/etc/passwd", ""), "outside of"},
		"traversal":       {pack(t, prefix+"../x", ""), "not allowed"},
		"dot":             {pack(t, prefix+"a/./x", ""), "not clean"},
		"backslash":       {pack(t, prefix+`a\x`, ""), "not allowed"},
		"reserved":        {pack(t, prefix+"aux.go", ""), "not allowed"},
		"twice":           {pack(t, prefix+"a", "1", prefix+"a", "2"), "there twice"},
		"case":            {pack(t, prefix+"a/x", "", prefix+"A/y", ""), "collides"},
		"kelvin":          {pack(t, prefix+"k", "", prefix+"\u212a", ""), "collides"},
		"file and folder": {pack(t, prefix+"a", "", prefix+"a/b", ""), "both"},
		"nested go.mod":   {pack(t, prefix+"sub/go.mod", gomod), "only be in the root"},
		"GO.MOD":          {pack(t, prefix+"GO.MOD", gomod), "only be in the root"},
		"other go.mod":    {pack(t, prefix+"go.mod", gomod+"// changed\n"), "is not the .mod"},
		"bomb":            {pack(t, prefix+"go.mod", gomod, prefix+"zeros", strings.Repeat("\x00", 1<<20)), "unpacks to more"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := check(c.zip, gomod)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func TestZipSeesDamage(t *testing.T) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	f, err := w.CreateHeader(&zip.FileHeader{Name: prefix + "a.go", Method: zip.Store})
	require.NoError(t, err)
	_, err = f.Write([]byte("package m // unharmed"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	b := bytes.Replace(buf.Bytes(), []byte("unharmed"), []byte("damaged!"), 1)
	_, err = check(b, "module example.com/m\n")
	assert.ErrorIs(t, err, zip.ErrChecksum)
}

// A directory is read into memory before anything about it can be checked.
func TestZipBoundsDirectory(t *testing.T) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	long := strings.Repeat("x", 60_000)
	for i := range maxDirectory/len(long) + 1 {
		_, err := w.CreateRaw(&zip.FileHeader{Name: fmt.Sprint(prefix, i, long)})
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	_, err := Zip(bytes.NewReader(buf.Bytes()), int64(buf.Len()), mod, []byte("module example.com/m\n"), 500<<20)
	assert.ErrorContains(t, err, "its directory has more than")
}

// The go command can't hash a folder that has content, so it can't use the zip.
func TestZipRefusesFoldersWithContent(t *testing.T) {
	b := bytes.ReplaceAll(pack(t, prefix+"a_", "abc"), []byte(prefix+"a_"), []byte(prefix+"a/"))
	_, err := check(b, "module example.com/m\n")
	assert.ErrorIs(t, err, zip.ErrFormat)
}

func TestMod(t *testing.T) {
	assert.NoError(t, Mod([]byte("module other.example/x\n"), 100))
	assert.Error(t, Mod([]byte("<html>not a go.mod</html>"), 100))
	assert.Error(t, Mod(nil, 100))
	assert.Error(t, Mod([]byte("module example.com/m\n"), 5))
}

func TestVouched(t *testing.T) {
	lines := []string{"example.com/m v1.0.0 h1:zip=", "example.com/m v1.0.0/go.mod h1:mod="}
	assert.NoError(t, Vouched(lines, mod, "h1:zip="))
	assert.NoError(t, Vouched(lines, module.Version{Path: mod.Path, Version: "v1.0.0/go.mod"}, "h1:mod="))
	assert.ErrorContains(t, Vouched(lines, mod, "h1:other="), "has h1:zip=, the source h1:other=")
	assert.ErrorContains(t, Vouched(nil, mod, "h1:zip="), "no h1 hash")
}

func ExampleModHash() {
	h1, err := ModHash([]byte("module example.com/m\n"))
	fmt.Println(h1, err)
	// Output: h1:flS2VctbRrTv+sBE+VKgxx6hlkMGPVz9MGOmzMYFg3k= <nil>
}

// FuzzMod reads a .mod, and what a checksum database says of it: only what it says
// word for word is vouched for.
func FuzzMod(f *testing.F) {
	f.Add([]byte("module example.com/m\r\n"), "example.com/m v1.0.0/go.mod h1:x\nexample.com/m v1.0.0 h1:y")
	f.Add([]byte("module \"a\" // x\n$Id: $"), "example.com/m v1.0.0/go.mod h1:\x00\nexample.com/m v1.0.0/go.mod  h1:x")
	f.Add([]byte("module (\nm\n)"), "")
	f.Fuzz(func(t *testing.T, text []byte, lines string) {
		_ = Mod(text, 1<<20)
		h1, err := ModHash(text)
		if err != nil {
			t.Fatal(err)
		}
		m := module.Version{Path: mod.Path, Version: mod.Version + "/go.mod"}
		said := strings.Split(lines, "\n")
		if err := Vouched(said, m, h1); err == nil {
			t.Errorf("%q vouches for %s", said, h1)
		}
		if err := Vouched(append([]string{mod.Path + " " + mod.Version + " " + h1}, m.Path+" "+m.Version+" "+h1), m, h1); err != nil {
			t.Error(err)
		}
		lines = strings.ReplaceAll(string(text), "\r", "")
		if !bytes.Equal(plain([]byte(lines)), plain([]byte(strings.ReplaceAll(lines, "\n", "\r\n")))) {
			t.Errorf("other line ends make another go.mod of %q", lines)
		}
	})
}
