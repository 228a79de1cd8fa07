package fetcher_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/packtest"
)

// corpusScale is how large hostile packs are: as large as an attacker would make
// them if ATHENS_SOAK says so.
func corpusScale() float64 {
	if os.Getenv("ATHENS_SOAK") != "" {
		return 1
	}
	return 0.02
}

// A hostileRepo is a pack in a file, and the commit that its references name.
type hostileRepo struct {
	pack string
	tip  string
}

// corpusHost answers as the repositories of the corpus would, one a host.
type corpusHost map[string]hostileRepo

// framed reads a pack as a server sends it.
type framed struct {
	file *os.File
	next []byte
}

func (f *framed) Read(p []byte) (int, error) {
	if len(f.next) == 0 {
		part := make([]byte, 60_000)
		n, err := f.file.Read(part)
		if n == 0 {
			return 0, err
		}
		f.next = append(fmt.Appendf(nil, "%04x\x01", n+5), part[:n]...)
	}
	n := copy(p, f.next)
	f.next = f.next[n:]
	return n, nil
}

func (h corpusHost) RoundTrip(r *http.Request) (*http.Response, error) {
	c, ok := h[r.URL.Host]
	var body io.Reader
	switch {
	case !ok:
		return nil, fmt.Errorf("there is no host %s", r.URL.Host)
	case r.URL.Query().Has("go-get"):
		body = strings.NewReader(fmt.Sprintf(`<meta name="go-import" content="%s/m git https://%s/m">`, r.URL.Host, r.URL.Host))
	case strings.HasSuffix(r.URL.Path, "/info/refs"):
		first := fmt.Sprintf("%s HEAD\x00side-band-64k ofs-delta shallow no-progress\n", c.tip)
		tag := fmt.Sprintf("%s refs/tags/v1.0.0\n", c.tip)
		body = strings.NewReader(fmt.Sprintf("001e# service=git-upload-pack\n0000%04x%s%04x%s0000", len(first)+4, first, len(tag)+4, tag))
	default:
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		f, err := os.Open(c.pack)
		if err != nil {
			return nil, err
		}
		body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(strings.NewReader("00000008NAK\n"), &framed{file: f}, strings.NewReader("0000")), f}
	}
	closer, ok := body.(io.ReadCloser)
	if !ok {
		closer = io.NopCloser(body)
	}
	return &http.Response{StatusCode: http.StatusOK, Body: closer, Header: http.Header{}, Request: r}, nil
}

// TestCorpus sends the whole corpus of hostile packs to a Fetcher in a process of
// its own, ten at a time and each several times, with an innocent client beside
// it. Each ends with a clear answer, the innocent one is answered at once, and
// the process stays small.
func TestCorpus(t *testing.T) {
	if dir := os.Getenv("FETCHER_TEST_CORPUS"); dir != "" {
		corpusChild(t, dir)
		return
	}
	dir := t.TempDir()
	for name, build := range packtest.Corpus(corpusScale()) {
		writeCase(t, dir, name, build())
	}
	writeCase(t, dir, "", new(packtest.Maker).Sound())
	cmd := exec.Command(os.Args[0], "-test.run=^TestCorpus$", "-test.v", "-test.timeout=30m")
	cmd.Env = append(os.Environ(), "FETCHER_TEST_CORPUS="+dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	peak := 0
	for line := range strings.Lines(string(out)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "VmHWM:"); ok {
			peak, err = strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(rest), " kB"))
			require.NoError(t, err)
		}
	}
	require.NotZero(t, peak, "%s", out)
	t.Logf("peak: %d MB\n%s", peak>>10, out)
	if !race {
		assert.LessOrEqual(t, peak>>10, 512)
	}
}

func writeCase(t *testing.T, dir, name string, c packtest.Case) {
	base := filepath.Join(dir, name+"!")
	require.NoError(t, os.WriteFile(base+"pack", c.Pack, 0o600))
	require.NoError(t, os.WriteFile(base+"tip", fmt.Appendf(nil, "%x", c.Tip), 0o600))
}

// corpusChild is the process whose memory counts. The packs are in files, for
// they would count, too.
func corpusChild(t *testing.T, packs string) {
	hosts := corpusHost{}
	dir := t.TempDir()
	files, err := filepath.Glob(filepath.Join(packs, "*!tip"))
	require.NoError(t, err)
	names := map[string]string{}
	for i, file := range files {
		tip, err := os.ReadFile(file)
		require.NoError(t, err)
		name, host := strings.TrimSuffix(filepath.Base(file), "!tip"), fmt.Sprintf("h%d.test", i)
		if name == "" {
			host = "good.test"
		} else {
			names[host] = name
		}
		hosts[host] = hostileRepo{strings.TrimSuffix(file, "tip") + "pack", string(tip)}
	}
	base := residentMB(t)
	f, err := fetcher.New(dir, &fetcher.Options{Transport: hosts, Netrc: "none", GitConfig: "none", SSHDir: "none"})
	require.NoError(t, err)
	defer f.Close()
	get := func(host string) error {
		c, err := f.Fetch(t.Context(), module.Version{Path: host + "/m", Version: "v1.0.0"})
		if err == nil {
			err = c.Zip(t.Context(), io.Discard)
		}
		return err
	}
	var wg sync.WaitGroup
	ten := make(chan struct{}, 10)
	for host, name := range names {
		wg.Go(func() {
			ten <- struct{}{}
			defer func() { <-ten }()
			start := time.Now()
			err := get(host)
			fmt.Printf("%s: %v: %v\n", name, time.Since(start).Round(time.Millisecond), err)
			if err != nil && !assert.True(t, isContract(err), "%s: %T %v", name, err, err) {
				return
			}
			assert.Less(t, time.Since(start), 5*time.Minute, name)
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	slowest := time.Duration(0)
	for ended := false; !ended; {
		start := time.Now()
		assert.NoError(t, get("good.test"))
		slowest = max(slowest, time.Since(start))
		select {
		case <-done:
			ended = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	fmt.Printf("the innocent one: at most %v; resident before: %d MB\n", slowest, base)
	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	fmt.Printf("\n%s\n", status)
}

func isContract(err error) bool {
	switch err.(type) {
	case *athens.InvalidError, *athens.UnavailableError, *athens.MissingError:
		return true
	}
	return false
}

func residentMB(t *testing.T) int {
	data, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize() >> 20
}
