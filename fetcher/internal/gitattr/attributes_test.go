package gitattr

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

// attributeCases is how many random .gitattributes files are compared with git.
const attributeCases = 400

// TestAttributesAsGit makes one commit with many folders, each with a random
// .gitattributes file, and compares what becomes of their files with what "git
// archive" makes of them when it is called as the go command calls it.
func TestAttributesAsGit(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	files := make(map[string]string)
	for i := range attributeCases {
		folder := fmt.Sprintf("d%03d", i)
		files[folder+"/.gitattributes"] = randomAttributes(rnd)
		for range 4 {
			name := pick(rnd, "a.txt", "b.go", "sub/a.txt", "sub/deep/c.txt", "sub/deep/x.go", "a b.txt", "[x].txt", "A.TXT", "a\\b.txt", "x/y/z/a.txt")
			files[folder+"/"+name] = randomText(rnd)
		}
		if rnd.IntN(3) == 0 {
			files[folder+"/sub/.gitattributes"] = randomAttributes(rnd)
		}
	}
	files[".gitattributes"] = "[attr]odd eol=crlf ident\n[attr]evil odd -ident\n* text=auto\n"
	repo := commitFiles(t, files)

	a := New(nil)
	for _, name := range sortedKeys(files) {
		if folder, base := filepath.Split(name); base == File {
			require.NoError(t, addText(a, strings.TrimSuffix(folder, "/"), files[name]))
		}
	}
	want := archived(t, repo)
	blobs := gitHashes(t, repo)
	require.Len(t, want, len(files))
	changed := 0
	for _, name := range sortedKeys(files) {
		got, err := convert(t, nil, a, name, files[name], blobs[name])
		if errors.Is(err, errors.ErrUnsupported) {
			continue // an encoding that got its name by chance
		}
		require.NoError(t, err)
		if want[name] != files[name] {
			changed++
		}
		folder, _, _ := strings.Cut(name, "/")
		if !assert.Equal(t, want[name], got, "%s, by\n%s\nand\n%s", name, files[folder+"/.gitattributes"], files[folder+"/sub/.gitattributes"]) {
			return
		}
	}
	assert.Greater(t, changed, attributeCases/10, "most files are as they were: the test shows little")
}

func pick(rnd *rand.Rand, list ...string) string { return list[rnd.IntN(len(list))] }

// randomAttributes makes up to five lines, some of which git does not accept.
func randomAttributes(rnd *rand.Rand) string {
	var b strings.Builder
	for range rnd.IntN(5) + 1 {
		b.WriteString(pick(rnd, "", "", "", " ", "\t"))
		b.WriteString(pick(rnd, "*", "*.txt", "a.*", "*.go", "sub/*", "sub/**", "**/a.txt", "/a.txt", "sub/", "sub", "s?b/a.txt", "[a-b].*", "[!a]*",
			"[[:upper:]]*", "[]x]*", `\[x\].txt`, `"a b.txt"`, `"a\\\\b.txt"`, "!a.txt", `\!x`, "sub/deep/*.txt", "**/deep/**", "deep/*", "x/**/a.txt", "x/**/z/a.txt", "**", "***", "a**", "x/*/a.txt", "*b/a.txt", "[^a-", "[[:nope:]]*", "[a-z]*.t[x]t", `a\`, "#c", "*.[t-x]*", "/sub/deep", "sub/**/c.txt", "**.txt", "sub**c.txt", "s**/c.txt", "x**", "[attr]", "[attr]*"))
		for range rnd.IntN(3) + 1 {
			b.WriteString(pick(rnd, " ", " ", "\t", "  "))
			b.WriteString(pick(rnd, "text", "-text", "!text", "text=auto", "text=input", "text=x", "eol=crlf", "eol=crlf", "eol=crlf", "eol=lf", "!eol", "-eol", "eol", "crlf", "-crlf", "crlf=input", "crlf=auto",
				"ident", "-ident", "!ident", "ident=x", "binary", "-binary", "!binary", "odd", "-odd", "evil", "export-subst", "export-ignore", "diff", "working-tree-encoding=UTF-16BE", "working-tree-encoding=", "!working-tree-encoding",
				"-x=y", "bad!name", "=x", "--y", "[attr]x", "eol=CRLF", "text=", "-text=auto"))
		}
		b.WriteString(pick(rnd, "\n", "\n", "\n", "\n", "\r\n", "\r\n", " \n", " \n", "", "\x00\n"))
	}
	return b.String()
}

func randomText(rnd *rand.Rand) string {
	var b strings.Builder
	for range rnd.IntN(12) {
		b.WriteString(pick(rnd, "one\n", "two\n", "three\r\n", "\n", "\r", "$Id$", "$Id: x$", "$Id: a b $", "$Id:x y$", "$Id: 0 $\n", "$Id", "$", "$$Id$$", "$Id:", "$Idx$", "\x00", "\x01", "\x1a", "é", "text ", strings.Repeat("long ", 40)))
	}
	return b.String()
}

func sortedKeys(m map[string]string) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// runGit runs git in a folder with nothing of the machine's configuration.
func runGit(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "XDG_CONFIG_HOME=/dev/null", "GIT_ATTR_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@corp.test", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@corp.test")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "git %v: %s", args, &stderr)
	return string(out)
}

// commitFiles commits files as they are, without what attributes would change
// on their way in, and returns the repository's folder.
func commitFiles(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	runGit(t, dir, "init", "-q", "-b", "main")
	var stream strings.Builder
	stream.WriteString("commit refs/heads/main\ncommitter a <a@corp.test> 1600000000 +0000\ndata 0\n")
	for _, name := range sortedKeys(files) {
		fmt.Fprintf(&stream, "M 100644 inline %q\ndata %d\n%s\n", name, len(files[name]), files[name])
	}
	cmd := exec.Command("git", "-C", dir, "fast-import", "--quiet")
	cmd.Stdin = strings.NewReader(stream.String())
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NoError(t, os.WriteFile(filepath.Join(dir, ".git/info/attributes"), []byte("\n* -export-subst -export-ignore\n"), 0o600))
	return filepath.Join(dir, ".git")
}

// archived returns the files of a commit as the go command gets them.
func archived(t testing.TB, repo string) map[string]string {
	t.Helper()
	out := runGit(t, repo, "-c", "core.autocrlf=input", "-c", "core.eol=lf", "archive", "--format=tar", "--prefix=prefix/", "main")
	files := make(map[string]string)
	for r := tar.NewReader(strings.NewReader(out)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files
		}
		require.NoError(t, err)
		if h.Typeflag != tar.TypeReg {
			continue
		}
		data, err := io.ReadAll(r)
		require.NoError(t, err)
		files[strings.TrimPrefix(h.Name, "prefix/")] = string(data)
	}
}

// gitHashes returns the hashes of a commit's files.
func gitHashes(t testing.TB, repo string) map[string]string {
	t.Helper()
	hashes := make(map[string]string)
	for entry := range strings.SplitSeq(runGit(t, repo, "ls-tree", "-r", "-z", "main"), "\x00") {
		if meta, name, ok := strings.Cut(entry, "\t"); ok {
			hashes[name] = strings.Fields(meta)[2]
		}
	}
	return hashes
}

func TestEncodings(t *testing.T) {
	for encoding, want := range map[string]string{
		"UTF-16BE":     "\x00\xe9\xd8\x3d\xde\x00",
		"UTF-16":       "\xff\xfe\xe9\x00\x3d\xd8\x00\xde",
		"UTF-16LE-BOM": "\xff\xfe\xe9\x00\x3d\xd8\x00\xde",
		"UTF-32BE":     "\x00\x00\x00\xe9\x00\x01\xf6\x00",
		"ISO-8859-1":   "é😀", // does not fit
	} {
		got, err := Conversion{encoding: encoding}.apply(nil, "é😀", "")
		require.NoError(t, err, encoding)
		assert.Equal(t, want, got, encoding)
	}
	_, err := Conversion{encoding: "SHIFT-JIS"}.apply(nil, "x", "")
	assert.ErrorContains(t, err, "not supported")
}

// addText adds a file that is given as text.
func addText(a *Attributes, folder, text string) error {
	return a.Add(folder, text, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil })
}

// apply converts a text. It is read in small parts, too, which must make no
// difference.
func (c Conversion) apply(job *budget.Job, text, blob string) (string, error) {
	var all [2]string
	for i, wrap := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader} {
		rd, err := c.Open(job, func() (io.ReadCloser, error) { return io.NopCloser(wrap(strings.NewReader(text))), nil }, blob)
		if err != nil {
			return "", err
		}
		out, err := io.ReadAll(rd)
		if err != nil {
			return "", err
		}
		all[i] = string(out)
	}
	if all[0] != all[1] {
		return "", fmt.Errorf("read byte by byte it is %q instead of %q", all[1], all[0])
	}
	return all[0], nil
}

func convert(t testing.TB, job *budget.Job, a *Attributes, file, text, blob string) (string, error) {
	c, err := a.Conversion(file)
	require.NoError(t, err)
	return c.apply(job, text, blob)
}

// FuzzAttributes converts a file by any attributes: nothing is more than the
// largest encoding needs, and what a job may use is enough, or is an error.
func FuzzAttributes(f *testing.F) {
	f.Add("*.txt text eol=crlf\n[attr]x ident\n\"a b\" x\n", "sub/a.txt", "one\ntwo$Id$\n")
	f.Add("**/[a-z]*[[:alpha:]]\\* x=y\n", "a/b/c", "")
	f.Fuzz(func(t *testing.T, text, file, content string) {
		if strings.HasPrefix(file, "/") {
			return
		}
		job := budget.New(4<<20, 1<<28).Start(t.Context())
		defer job.End()
		a := New(job)
		for _, folder := range []string{"", "sub"} {
			if err := addText(a, folder, text); err != nil {
				return
			}
		}
		c, err := a.Conversion(file)
		if err != nil {
			return
		}
		out, err := c.apply(job, content, strings.Repeat("0", 40))
		if err == nil && len(out) > 8*len(content)+8*60*strings.Count(content, "$")+4 {
			t.Errorf("%d bytes became %d", len(content), len(out))
		}
		if err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.As(err, new(*budget.LimitError)) {
			t.Error(err)
		}
	})
}
