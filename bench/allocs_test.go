package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// measureAllocs counts the allocations of a warm request on a connection that is
// kept: net/http's own, the handler's and the store's. The client makes none.
// The store's are those of its package's benchmark, in place of the stand-in's.
func measureAllocs(t *testing.T, b *table) {
	tree := newWarmTree(t, 1, 0)
	handler, err := athens.NewHandler(folder{dir: tree.dir}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		path string
		file athens.File
	}{{tree.small[0], athens.InfoFile}, {tree.medium[0], athens.ZipFile}} {
		own := allocations(t, handler, part.path, b.allocsIn)
		standIn, store := folderAllocs(t, tree.dir, part.path, part.file), storeAllocs(t, part.file)
		base := allocations(t, http.FileServer(http.Dir(tree.dir)), part.path, b.allocsIn)
		b.add(t, line{"allocations of a warm ." + part.file.String(), ownName, math.Round(own - standIn + store), "a request", math.Round(base),
			fmt.Sprintf("%s of them the store's; http.FileServer %s", number(store), number(math.Round(base)))})
	}
}

// folder is the least of a store: it opens what a GOPROXY tree holds.
type folder struct {
	athens.Storage // nil: nothing else is asked of it
	dir            string
}

func (f folder) Open(_ context.Context, m module.Version, file athens.File) (*athens.Object, error) {
	body, err := os.Open(filepath.Join(f.dir, m.Path, "@v", m.Version+"."+file.String()))
	if err != nil {
		return nil, err
	}
	var stat fs.FileInfo
	if stat, err = body.Stat(); err != nil {
		return nil, err
	}
	return &athens.Object{Body: body, Size: stat.Size(), ModTime: stat.ModTime(), ETag: `"same"`}, nil
}

// folderAllocs counts the allocations of opening and closing a file of a folder.
func folderAllocs(t *testing.T, dir, path string, file athens.File) float64 {
	t.Helper()
	name, version, _ := strings.Cut(path, "/@v/")
	m := module.Version{Path: name, Version: strings.TrimSuffix(version, "."+file.String())}
	return testing.AllocsPerRun(100, func() {
		obj, err := folder{dir: dir}.Open(t.Context(), m, file)
		if err == nil {
			err = obj.Body.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

// storeAllocs asks the benchmark of package storage for the same of its own.
func storeAllocs(t *testing.T, file athens.File) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-bench=^BenchmarkOpenWarm$/^disk$/^"+file.String()+"$", "-benchtime=1000x", "../storage")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	fields := strings.Fields(string(out))
	for i, unit := range fields {
		if unit == "allocs/op" {
			n, err := strconv.ParseFloat(fields[i-1], 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("no allocations in:\n%s", out)
	return 0
}

// allocations asks the handler for the path, again and again on one connection.
func allocations(t *testing.T, h http.Handler, path string, n int) float64 {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	request := []byte("GET /" + path + " HTTP/1.1\r\nHost: bench.test\r\n\r\n")
	buf := make([]byte, 1<<20)
	if err := conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	var failed error
	ask := func() {
		if failed == nil {
			failed = exchange(conn, request, buf)
		}
	}
	ask() // opens, remembers and sizes what later requests use again
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		ask()
	}
	runtime.ReadMemStats(&after)
	if failed != nil {
		t.Fatal(failed)
	}
	return float64(after.Mallocs-before.Mallocs) / float64(n)
}

// exchange sends a request and reads the answer into buf.
func exchange(conn net.Conn, request, buf []byte) error {
	if _, err := conn.Write(request); err != nil {
		return err
	}
	have, need := 0, -1
	for need < 0 || have < need {
		n, err := conn.Read(buf[have:])
		if err != nil {
			return err
		}
		have += n
		if end := bytes.Index(buf[:have], []byte("\r\n\r\n")); need < 0 && end >= 0 {
			length, err := contentLength(buf[:end])
			if err != nil {
				return err
			}
			need = end + 4 + length
		}
	}
	return nil
}

func contentLength(head []byte) (int, error) {
	_, rest, ok := bytes.Cut(head, []byte("Content-Length: "))
	if !ok || !bytes.HasPrefix(head, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("no whole answer: %.200q", head)
	}
	digits, _, _ := bytes.Cut(rest, []byte("\r"))
	return strconv.Atoi(string(digits))
}
