package fetcher_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
)

// A deadHost is a transport to hosts of which dead.test fails.
type deadHost struct {
	fail     func(context.Context) error
	up       atomic.Bool
	attempts atomic.Int64
	kind     string // of the go-import tags
}

func (d *deadHost) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == "dead.test" && !d.up.Load() {
		d.attempts.Add(1)
		return nil, d.fail(r.Context())
	}
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Request: r, ContentLength: -1}
	body := ""
	switch {
	case r.URL.Query().Has("go-get"):
		body = fmt.Sprintf(`<meta name="go-import" content="%s%s %s https://dead.test%[2]s">`, r.URL.Host, r.URL.Path, d.kind)
	case strings.HasSuffix(r.URL.Path, "/info/refs"):
		resp.Header.Set("Content-Type", "application/x-git-upload-pack-advertisement")
		body = statusPkt("# service=git-upload-pack\n") + "0000" + statusPkt(statusHash+" HEAD\x00side-band-64k shallow\n") + "0000"
	}
	resp.Body = io.NopCloser(strings.NewReader(body))
	return resp, nil
}

func (d *deadHost) fetcher(t *testing.T) *fetcher.Fetcher {
	t.Helper()
	f, err := fetcher.New(t.TempDir(), &fetcher.Options{
		Netrc: "none", GitConfig: "none", SSHDir: "none", Insecure: "none", Transport: d, MissTTL: 1, RefsTTL: 1, DiscoveryTTL: 1,
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, f.Close()) })
	return f
}

// ways are the ways in which a host is dead.
var ways = map[string]func(context.Context) error{
	"refused": func(context.Context) error {
		return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	},
	"unreachable": func(context.Context) error {
		return &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}
	},
	"unknown": func(context.Context) error {
		return &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "dead.test", IsNotFound: true}}
	},
	"dropped SYN": func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(10 * time.Second):
			return &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
		}
	},
	"certificate": func(context.Context) error {
		return x509.HostnameError{Certificate: &x509.Certificate{}, Host: "dead.test"}
	},
	"TLS": func(context.Context) error { return errors.New("remote error: tls: handshake failure") },
	"silent": func(ctx context.Context) error {
		<-ctx.Done()
		return context.Cause(ctx)
	},
}

// After a host was found dead, each question about anything on it is answered at once,
// until DownTTL is over. Then one request at a time probes it.
func TestDeadHostIsRemembered(t *testing.T) {
	for way, fail := range ways {
		for kind, host := range map[string]string{"page": "dead.test", "git": "corp.test", "mod": "corp.test"} {
			t.Run(way+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := &deadHost{fail: fail, kind: kind}
					if kind == "page" {
						d.kind = "git"
					}
					f := d.fetcher(t)
					start := time.Now()
					requireOutage(t, statusQuestions["latest"](t.Context(), f, host+"/first"), "")
					limit := 20 * time.Second
					if kind == "mod" {
						limit = time.Minute + time.Second
					}
					assert.Less(t, time.Since(start), limit)
					require.EqualValues(t, 1, d.attempts.Load())
					failed := time.Now()
					for question, ask := range statusQuestions {
						for i := range 5 {
							err := ask(t.Context(), f, fmt.Sprintf("%s/%d", host, i))
							requireOutage(t, err, "Options.DownTTL")
							assert.True(t, time.Now().Equal(failed), "%s is answered at once", question)
						}
					}
					assert.EqualValues(t, 1, d.attempts.Load())

					time.Sleep(10 * time.Second)
					var all sync.WaitGroup
					for i := range 10 {
						all.Go(func() {
							requireOutage(t, statusQuestions["list"](t.Context(), f, fmt.Sprintf("%s/%d", host, i)), "")
						})
					}
					all.Wait()
					assert.EqualValues(t, 2, d.attempts.Load(), "one probe")

					d.up.Store(true)
					time.Sleep(10 * time.Second)
					for i := range 3 {
						err := statusQuestions["list"](t.Context(), f, fmt.Sprintf("%s/%d", host, i))
						assert.False(t, errors.As(err, new(*athens.UnavailableError)), "%v", err)
					}
				})
			})
		}
	}
}

// A client that demands a fresh answer probes a dead host, but not more than once a
// second, and not where a server has asked to be left alone.
func TestNoCacheProbesDeadHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &deadHost{fail: ways["refused"], kind: "git"}
		f := d.fetcher(t)
		ask := func(ctx context.Context) error { return statusQuestions["list"](ctx, f, "corp.test/m") }
		fresh := athens.RequestInfo{NoCache: true}.Context(t.Context())
		requireOutage(t, ask(t.Context()), "refused")
		requireOutage(t, ask(fresh), "refused")
		assert.EqualValues(t, 1, d.attempts.Load(), "too early")
		for range 3 {
			time.Sleep(time.Second)
			requireOutage(t, ask(t.Context()), "refused")
			requireOutage(t, ask(fresh), "refused")
			requireOutage(t, ask(fresh), "refused")
		}
		assert.EqualValues(t, 4, d.attempts.Load(), "once a second")
		d.up.Store(true)
		time.Sleep(time.Second)
		assert.NoError(t, ask(fresh))
		assert.NoError(t, ask(t.Context()))
	})
}

// A host that does not answer one request in time, but others meanwhile, is not dead.
func TestSlowAnswerIsNoDeadHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newStatusFetcher(t, func(r *http.Request) (int, string) {
			if strings.HasSuffix(r.URL.Path, "/slow") {
				<-r.Context().Done()
			}
			return 500, ""
		})
		go func() {
			time.Sleep(time.Second)
			_ = statusQuestions["list"](t.Context(), f, "corp.test/quick")
		}()
		requireOutage(t, statusQuestions["list"](t.Context(), f, "corp.test/slow"), "")
		requireOutage(t, statusQuestions["list"](t.Context(), f, "corp.test/other"), "500")
	})
}

// Refusals of packs, and of the files of GOPROXY servers, are remembered like those of
// lists of references.
func TestRefusedFilesAreRemembered(t *testing.T) {
	list := statusPkt("# service=git-upload-pack\n") + "0000" + statusPkt(statusHash+" HEAD\x00side-band-64k shallow\n") +
		statusPkt(statusHash+" refs/tags/v1.0.0\n") + "0000"
	for kind, file := range map[string]string{"git": "/git-upload-pack", "mod": "/v1.0.0.info"} {
		for _, status := range []int{401, 403, 404, 429, 500, 503} {
			if kind == "mod" && status == 404 {
				continue // the answer is that there is none
			}
			t.Run(fmt.Sprint(kind, status), func(t *testing.T) {
				var refused atomic.Int64
				f := newStatusFetcher(t, func(r *http.Request) (int, string) {
					switch {
					case r.URL.Query().Has("go-get"):
						return 200, `<meta name="go-import" content="corp.test/m ` + kind + ` https://code.test/m">`
					case strings.HasSuffix(r.URL.Path, "/info/refs"):
						return 200, list
					case strings.HasSuffix(r.URL.Path, file):
						refused.Add(1)
						return status, ""
					}
					return 404, ""
				})
				for range 20 {
					requireOutage(t, statusFetch(t.Context(), f, "corp.test/m", "v1.0.0"), fmt.Sprint(status))
				}
				assert.EqualValues(t, 1, refused.Load())
			})
		}
	}
}
