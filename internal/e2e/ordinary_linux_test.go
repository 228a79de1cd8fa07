package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// ordinary are large modules as there are some, which no bound against hostile content
// may refuse. Each is written as a stream of git fast-import, in size parts of its full
// one, and asked for by a query.
var ordinary = map[string]struct {
	query string
	write func(w *importer, part func(full int) int)
}{
	"a zip of 490 MB": {"v1.0.0", func(w *importer, part func(int) int) {
		for i := range part(490) {
			w.file(fmt.Sprintf("data/f%d.bin", i), 1<<20, w.noise)
		}
	}},
	"a file of 150 MB": {"v1.0.0", func(w *importer, part func(int) int) {
		w.file("large.bin", part(150)<<20, w.noise)
	}},
	"20,000 files": {"v1.0.0", func(w *importer, part func(int) int) {
		for i := range part(20_000) {
			w.file(fmt.Sprintf("d%d/f%d.go", i%100, i), 300, w.text)
		}
	}},
	"200 MB with eol": {"v1.0.0", func(w *importer, part func(int) int) {
		w.content(".gitattributes", "*.txt text eol=crlf\n")
		for i := range part(200) {
			w.file(fmt.Sprintf("t%d.txt", i), 1<<20, w.text)
		}
	}},
	"60,000 commits": {"main", func(w *importer, part func(int) int) {
		for i := range part(60_000) {
			w.commit()
			w.content("count.txt", fmt.Sprint(i))
		}
	}},
	"500,000 objects": {"main", func(w *importer, part func(int) int) {
		for i := range part(500_000) / 5 { // a commit, two trees, two blobs
			w.commit()
			w.content("count.txt", fmt.Sprint(i))
			w.content("sub/count.txt", fmt.Sprint("sub ", i))
		}
	}},
}

// An importer writes a stream of git fast-import.
type importer struct {
	*bufio.Writer
	random  *rand.ChaCha8
	seconds int
	begun   bool
}

// commit begins a commit.
func (w *importer) commit() {
	w.seconds++
	fmt.Fprintf(w, "commit refs/heads/main\ncommitter Ada <ada@corp.test> %d +0000\ndata 4\nMore\n", 1_700_000_000+w.seconds)
	if !w.begun {
		fmt.Fprintln(w, "from refs/heads/main^0")
	}
	w.begun = true
}

// file adds a file of so many bytes to the commit, of which there is one by then.
func (w *importer) file(name string, size int, fill func(size int)) {
	if !w.begun {
		w.commit()
	}
	fmt.Fprintf(w, "M 100644 inline %s\ndata %d\n", name, size)
	fill(size)
	fmt.Fprintln(w)
}

func (w *importer) content(name, text string) {
	w.file(name, len(text), func(int) { _, _ = w.WriteString(text) })
}

// noise writes what can't be compressed, text lines of Go.
func (w *importer) noise(size int) { _, _ = io.CopyN(w, w.random, int64(size)) }

func (w *importer) text(size int) {
	for size > 0 {
		line := fmt.Sprintf("// %d is a number.\n", w.random.Uint64())
		n, _ := w.WriteString(line[:min(size, len(line))])
		size -= n
	}
}

// newOrdinary makes a repository with the commit v1.0.0, which a query for main finds
// before what is written if that is commits.
func newOrdinary(t *testing.T, path, query string, write func(*importer)) *modtest.Repo {
	repo := modtest.NewRepo(t, fmt.Sprintf("# A large one.\nrepo %s\nwrite go.mod \"module %s\\n\"\ncommit 2022-01-01T10:00:00Z Begin\ntag v0.9.0\n", path, path))
	cmd := exec.CommandContext(t.Context(), "git", "--git-dir", repo.Dir(), "-c", "core.compression=1", "fast-import", "--quiet")
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	var problems strings.Builder
	cmd.Stderr = &problems
	require.NoError(t, cmd.Start())
	w := &importer{Writer: bufio.NewWriterSize(stdin, 1<<20), random: rand.NewChaCha8([32]byte{1})}
	write(w)
	if query != "main" {
		fmt.Fprintf(w, "reset refs/tags/%s\nfrom refs/heads/main\n", query)
	}
	require.NoError(t, w.Flush())
	require.NoError(t, stdin.Close())
	require.NoError(t, cmd.Wait(), "%s", &problems)
	return repo
}

// downloaded is what the go command says of a module that it downloaded.
type downloaded struct{ Version, Sum, GoModSum string }

// download downloads a module, in its own time.
func download(t *testing.T, g *modtest.Go, what string) downloaded {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", what)
	cmd.Dir, cmd.Env = g.Dir, g.Env()
	out, err := cmd.Output()
	require.NoError(t, err, "%s", out)
	var d downloaded
	require.NoError(t, json.Unmarshal(out, &d))
	g.Clean()
	return d
}

// TestOrdinaryLargeModules fetches large modules by a registry with default settings and
// by the go command itself, which agree, and measures what the registry needs.
func TestOrdinaryLargeModules(t *testing.T) {
	t.Parallel()
	for name, c := range ordinary {
		t.Run(name, func(t *testing.T) {
			part := func(full int) int { return modtest.Soak(max(1, full/200), full) }
			const path = "large.test/m"
			repo := newOrdinary(t, path, c.query, func(w *importer) { c.write(w, part) })
			net := modtest.NewInternet(t, repo)
			n := startServer(t, net, "registry", "registry")
			start := time.Now()
			g := modtest.NewGo(t, net)
			g.Set("GOPROXY="+n.URL, "GONOSUMDB=*", "GONOPROXY=none")
			byRegistry := download(t, g, path+"@"+c.query)
			took := time.Since(start)
			peak := peakMB(t, n)
			n.Stop()
			start = time.Now()
			direct := download(t, modtest.NewGo(t, net), path+"@"+c.query)
			t.Logf("the registry: %v, %d MB at most; the go command itself: %v", took.Round(time.Millisecond), peak, time.Since(start).Round(time.Millisecond))
			assert.Equal(t, direct, byRegistry)
			assert.NotEmpty(t, direct.Sum)
			assert.LessOrEqual(t, peak, mostMemoryMB)
		})
	}
}
