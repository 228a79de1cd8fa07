package bench_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/athens-go/athens/internal/modtest"
)

// newClient returns a client that keeps that many connections.
func newClient(t *testing.T, conns int) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxConnsPerHost: conns, MaxIdleConnsPerHost: conns, DisableCompression: true, ReadBufferSize: 64 << 10}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 5 * time.Minute}
}

// fetched is one answer.
type fetched struct {
	status int
	bytes  int64
	first  time.Duration // until its first byte
	whole  time.Duration // until its end
}

// fetch reads an answer and forgets it.
func fetch(ctx context.Context, client *http.Client, url string, buf []byte) (fetched, error) {
	var f fetched
	begin := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return f, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return f, err
	}
	defer func() { _ = resp.Body.Close() }()
	f.status = resp.StatusCode
	for {
		n, err := resp.Body.Read(buf)
		if n > 0 && f.bytes == 0 {
			f.first = time.Since(begin)
		}
		f.bytes += int64(n)
		if err != nil {
			f.whole = time.Since(begin)
			if err == io.EOF {
				err = nil
			}
			return f, err
		}
	}
}

// flood asks for n of the paths in turn over that many connections at once, and
// returns the answers in no order.
func flood(t *testing.T, url string, paths []string, conns, n int) []fetched {
	t.Helper()
	client := newClient(t, conns)
	defer client.CloseIdleConnections()
	var (
		answers = make([]fetched, n)
		errs    = make([]error, conns)
		wg      sync.WaitGroup
	)
	for c := range conns {
		wg.Go(func() {
			buf := make([]byte, 256<<10)
			for i := c; i < n && errs[c] == nil; i += conns {
				answers[i], errs[c] = fetch(t.Context(), client, url+"/"+paths[i%len(paths)], buf)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return answers
}

// mustHold fails unless all the answers are 200.
func mustHold(t *testing.T, who string, answers []fetched) {
	t.Helper()
	for _, a := range answers {
		if a.status != http.StatusOK {
			t.Fatalf("%s answered %d", who, a.status)
		}
	}
}

// goDownload runs "go mod download args..." with an empty module cache, and
// returns what it took; the CPU time is that of the go command and its children.
func goDownload(t *testing.T, g *modtest.Go, args ...string) cost {
	t.Helper()
	g.Clean()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", append([]string{"mod", "download"}, args...)...)
	cmd.Dir, cmd.Env = g.Dir, append(g.Env(), "PWD="+g.Dir)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	wall := time.Since(begin)
	if err != nil {
		t.Fatalf("go mod download: %v\n%s", err, out)
	}
	return cost{wall, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}

// downloaded counts the zips in the module cache.
func downloaded(t *testing.T, g *modtest.Go) int {
	t.Helper()
	n := 0
	for _, pattern := range []string{"*/*/@v/*.zip", "*/*/*/@v/*.zip"} {
		zips, err := filepath.Glob(filepath.Join(g.ModCache, "cache", "download", pattern))
		if err != nil {
			t.Fatal(err)
		}
		n += len(zips)
	}
	return n
}

// paced answers at no more than that many bytes a second, each answer by itself.
func paced(rate int) modtest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&pacedWriter{ResponseWriter: w, ctx: r.Context(), rate: rate}, r)
		})
	}
}

type pacedWriter struct {
	http.ResponseWriter
	ctx   context.Context
	rate  int
	begun time.Time
	sent  int
}

func (w *pacedWriter) Write(b []byte) (int, error) {
	if w.begun.IsZero() {
		w.begun = time.Now()
	}
	n, err := w.ResponseWriter.Write(b)
	w.sent += n
	due := w.begun.Add(time.Duration(float64(w.sent) / float64(w.rate) * float64(time.Second)))
	if err == nil {
		err = pause(w.ctx, time.Until(due))
	}
	return n, err
}

// pause returns after d, or when ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("paced: %w", ctx.Err())
	}
}
