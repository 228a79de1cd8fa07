package e2e_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// line is a way to a server on which so many bytes pass in a second, in all.
type line struct {
	net.Listener
	bytes float64

	mu   sync.Mutex
	free time.Time // when the bytes that were taken have passed
}

func (l *line) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &slowConn{c, l}, err
}

type slowConn struct {
	net.Conn
	line *line
}

func (c *slowConn) Write(b []byte) (int, error) {
	l := c.line
	l.mu.Lock()
	l.free = l.free.Add(time.Duration(float64(len(b)) / l.bytes * float64(time.Second)))
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	wait := time.Until(l.free)
	l.mu.Unlock()
	<-time.After(wait)
	return c.Conn.Write(b)
}

// BenchmarkFollow has a follower catch up from nothing over a line of some megabytes a
// second, and a client that downloads the same files over the same line, 16 at a time.
// ATHENS_FOLLOW is "VERSIONS MEGABYTES", 500 and 8 if it is not set.
//
//	go test ./internal/e2e -run '^$' -bench Follow -benchtime 1x
func BenchmarkFollow(b *testing.B) {
	versions, megabytes := 500, 8.0
	if _, err := fmt.Sscan(os.Getenv("ATHENS_FOLLOW"), &versions, &megabytes); err != nil && os.Getenv("ATHENS_FOLLOW") != "" {
		b.Fatal(err)
	}
	internet := modtest.NewInternet(b)
	primary := newServer(b, internet, "registry", "registry", "-ledger", "sum.corp.example")
	random := rand.NewChaCha8([32]byte{})
	var refs []string
	for i := range versions {
		text := make([]byte, 24<<10)
		_, _ = random.Read(text)
		path := fmt.Sprintf("bench.test/m%d", i/5) // five versions each
		v := modtest.NewVersion(b, path, fmt.Sprintf("v1.0.%d", i), map[string]string{"go.mod": "module " + path + "\n", "m.bin": string(text)})
		base := filepath.Join(primary.dir, path, "@v", v.Version.Version)
		require.NoError(b, os.MkdirAll(filepath.Dir(base), 0o777))
		for ext, data := range map[string][]byte{".info": v.Info, ".mod": v.Mod, ".zip": v.Zip, ".ziphash": []byte(v.Sum)} {
			require.NoError(b, os.WriteFile(base+ext, data, 0o666))
		}
		refs = append(refs, path+"@"+v.Version.Version)
	}
	primary.start("127.0.0.1:0")
	key := primary.sumDBKey()
	modtest.Eventually(b, "all is recorded", func() bool {
		_, body := modtest.Get(b, primary.URL+"/sumdb/sum.corp.example/latest")
		return strings.Contains(body, "\n"+strconv.Itoa(versions)+"\n")
	})
	way := startLine(b, primary.URL, megabytes)
	for b.Loop() {
		began := time.Now()
		downloadAll(b, way, refs, b.TempDir())
		plain := time.Since(began)

		began = time.Now()
		f := startServer(b, internet, "registry", "follower", "-follow", way, "-follow-key", key)
		modtest.Eventually(b, "the follower has all", func() bool {
			_, body := modtest.Get(b, f.ops+"/metrics")
			return strings.Contains(body, "\nathens_follow_lag_records 0\n") && strings.Contains(body, "\nathens_ledger_records "+strconv.Itoa(versions)+"\n")
		})
		follows := time.Since(began)
		b.ReportMetric(float64(versions)/plain.Seconds(), "plain/s")
		b.ReportMetric(float64(versions)/follows.Seconds(), "followed/s")
		b.ReportMetric(plain.Seconds()/follows.Seconds(), "of-plain")
		f.Stop()
	}
}

// startLine puts a line before a server, and returns its URL.
func startLine(b *testing.B, target string, megabytes float64) string {
	to, err := url.Parse(target)
	require.NoError(b, err)
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.Transport = &http.Transport{MaxIdleConnsPerHost: 128}
	s := httptest.NewUnstartedServer(proxy)
	s.Listener = &line{Listener: s.Listener, bytes: megabytes * 1e6}
	s.Start()
	b.Cleanup(s.Close)
	return s.URL
}

// downloadAll gets the files of versions into a folder, 16 at a time.
func downloadAll(b *testing.B, url string, refs []string, dir string) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	work := make(chan string)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for name := range work {
				resp, err := client.Get(url + "/" + name)
				if err != nil {
					b.Error(err)
					continue
				}
				f, err := os.Create(filepath.Join(dir, strings.ReplaceAll(name, "/", "_")))
				if err == nil {
					_, err = io.Copy(f, resp.Body)
				}
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Error(name, resp.StatusCode, err)
				}
				resp.Body.Close()
				f.Close()
			}
		})
	}
	for _, ref := range refs {
		path, version, _ := strings.Cut(ref, "@")
		for _, ext := range []string{"info", "mod", "zip"} {
			work <- path + "/@v/" + version + "." + ext
		}
	}
	close(work)
	group.Wait()
}
