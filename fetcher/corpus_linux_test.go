package fetcher_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
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

// corpusHost answers as the repositories of the corpus would, one a host.
type corpusHost map[string]packtest.Case

func (h corpusHost) RoundTrip(r *http.Request) (*http.Response, error) {
	c, ok := h[r.URL.Host]
	body := []byte{}
	switch {
	case !ok:
		return nil, fmt.Errorf("there is no host %s", r.URL.Host)
	case r.URL.Query().Has("go-get"):
		body = fmt.Appendf(nil, `<meta name="go-import" content="%s/m git https://%s/m">`, r.URL.Host, r.URL.Host)
	case strings.HasSuffix(r.URL.Path, "/info/refs"):
		first := fmt.Sprintf("%x HEAD\x00side-band-64k ofs-delta shallow no-progress\n", c.Tip)
		tag := fmt.Sprintf("%x refs/tags/v1.0.0\n", c.Tip)
		body = fmt.Appendf(nil, "001e# service=git-upload-pack\n0000%04x%s%04x%s0000", len(first)+4, first, len(tag)+4, tag)
	default:
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		out := bytes.NewBufferString("00000008NAK\n")
		for part := range slices.Chunk(c.Pack, 60_000) {
			fmt.Fprintf(out, "%04x\x01%s", len(part)+5, part)
		}
		out.WriteString("0000")
		body = out.Bytes()
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), Header: http.Header{}, Request: r}, nil
}

// TestCorpus sends the whole corpus of hostile packs to a Fetcher in a process of
// its own, ten at a time and each several times, with an innocent client beside
// it. Each ends with a clear answer, the innocent one is answered at once, and
// the process stays small.
func TestCorpus(t *testing.T) {
	if os.Getenv("FETCHER_TEST_CORPUS") != "" {
		corpusChild(t)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestCorpus$", "-test.v", "-test.timeout=30m")
	cmd.Env = append(os.Environ(), "FETCHER_TEST_CORPUS=1")
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

func corpusChild(t *testing.T) {
	hosts := corpusHost{}
	corpus := packtest.Corpus(corpusScale())
	names := slices.Sorted(maps.Keys(corpus))
	dir := t.TempDir()
	var innocent packtest.Maker
	for i, name := range names {
		if only := os.Getenv("FETCHER_TEST_CASE"); only != "" && only != name {
			continue
		}
		hosts[fmt.Sprintf("h%d.test", i)] = corpus[name]()
	}
	hosts["good.test"] = innocent.Sound()
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
	for i, name := range names {
		host := fmt.Sprintf("h%d.test", i)
		if _, ok := hosts[host]; !ok {
			continue
		}
		wg.Go(func() {
			ten <- struct{}{}
			defer func() { <-ten }()
			start := time.Now()
			err := get(host)
			fmt.Printf("%s: %d bytes, %v: %v\n", name, len(hosts[host].Pack), time.Since(start).Round(time.Millisecond), err)
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
