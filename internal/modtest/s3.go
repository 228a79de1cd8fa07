package modtest

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// S3 is a real S3 server on loopback, behind a [Tap] that names requests
// bucket/key. Anyone who can reach loopback can use it, also other processes.
type S3 struct {
	*Tap
	host string // host:port
}

const s3Access, s3Secret = "modtest", "modtest-secret"

// S3Env returns the environment, as NAME=VALUE, of a process that logs in to servers
// which NewS3 starts.
func S3Env() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + s3Access, "AWS_SECRET_ACCESS_KEY=" + s3Secret, "AWS_EC2_METADATA_DISABLED=true"}
}

// NewS3 starts an S3 server with these buckets, empty, which ends with the test. The server is
// versitygw as tools/servers pins it; it keeps objects in a folder and means
// conditional writes, which in-memory imitations do not.
func NewS3(t testing.TB, buckets ...string) *S3 {
	t.Helper()
	bin := Tool(t, "tools/servers", "github.com/versity/versitygw/cmd/versitygw")
	dir, err := os.MkdirTemp("", "s3-") // not the test's: a socket's name must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	objects, metadata, socket := filepath.Join(dir, "objects"), filepath.Join(dir, "metadata"), filepath.Join(dir, "sock")
	for _, d := range append([]string{metadata, objects}, under(objects, buckets)...) {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	startS3(t, socket, exec.Command(bin, "--port", socket, "--access", s3Access, "--secret", s3Secret, "--quiet",
		"posix", "--sidecar", metadata, objects))

	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
		DisableCompression: true,
	}
	tap := NewTap(t, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { // what is signed stays, the Host too
			r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host
		},
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0),
	})
	server := httptest.NewUnstartedServer(tap)
	ctx, cancel := context.WithCancel(context.Background())
	server.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	server.Start()
	t.Cleanup(func() {
		cancel() // what hangs before it has read its body hears nothing of its connection
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	return &S3{Tap: tap, host: server.Listener.Addr().String()}
}

// URL is the bucket's, as gocloud.dev/blob/s3blob takes it.
func (s *S3) URL(bucket string) string {
	return "s3://" + bucket + "?region=us-east-1&use_path_style=true&endpoint=http://" + s.host
}

func under(dir string, names []string) []string {
	var all []string
	for _, name := range names {
		all = append(all, filepath.Join(dir, name))
	}
	return all
}

// startS3 starts the server and waits until it listens.
func startS3(t testing.TB, socket string, cmd *exec.Cmd) {
	t.Helper()
	out := newWatched()
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = out, out, 5*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		<-exited
		if t.Failed() {
			t.Logf("%s\n%s", strings.Join(cmd.Args, " "), out)
		}
	})
	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-tick.C:
			continue
		case <-exited:
			err = errors.New("it has ended")
		case <-limit.C:
		}
		t.Fatalf("the S3 server does not listen: %v\n%s", err, out)
	}
}
