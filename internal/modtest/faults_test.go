package modtest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// get asks for url through a client and returns status and body, or the error
// that getting or reading it ended with.
func get(client *http.Client, url string) (int, string, error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, "", err
	}
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), errors.Join(err, resp.Body.Close())
}

// greeting is an internet with one page of eleven bytes at shop.test/hello.
func greeting(t *testing.T) (*modtest.Internet, *http.Client) {
	net := modtest.NewInternet(t)
	net.Handle("shop.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "11")
		_, _ = io.WriteString(w, "hello world")
	}))
	return net, &http.Client{Transport: net.Transport()}
}

func TestFaults(t *testing.T) {
	tests := []struct {
		name   string
		fault  modtest.Fault
		status int    // 0: an error
		body   string // what its body begins with
		broken bool   // the body ends with an error
	}{
		{name: "cut", fault: modtest.Cut()},
		{name: "status", fault: modtest.Status(503), status: 503, body: "fault: Service Unavailable"},
		{name: "body", fault: modtest.Body("other"), status: 200, body: "other"},
		{name: "truncate", fault: modtest.Truncate(5), status: 200, body: "hello", broken: true},
		{name: "truncate nothing", fault: modtest.Truncate(11), status: 200, body: "hello world"},
		{name: "after", fault: modtest.After(modtest.Status(500)), status: 500, body: "fault"},
		{name: "length, more", fault: modtest.Length(3), status: 200, body: "hello world", broken: true},
		{name: "length, less", fault: modtest.Length(-6), status: 200, body: "hello"},
		{name: "oversize", fault: modtest.Oversize(100_000), status: 200, body: strings.Repeat("\x00", 100_000)},
		{name: "auth", fault: modtest.BasicAuth("ada", "secret"), status: 401, body: "fault"},
		{name: "delay", fault: modtest.Delay(time.Millisecond), status: 200, body: "hello world"},
		{name: "others", fault: modtest.Only(func(r *http.Request) bool { return r.Method == "POST" }, modtest.Cut()), status: 200, body: "hello world"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			net, client := greeting(t)
			mend := net.Break("shop.test/hello", test.fault)
			status, body, err := get(client, "http://shop.test/hello")
			assert.Equal(t, test.status, status)
			assert.True(t, strings.HasPrefix(body, test.body), "body %.20q", body)
			assert.Equal(t, test.broken || test.status == 0, err != nil, "error %v", err)
			mend()
			status, body, err = get(client, "http://shop.test/hello")
			assert.NoError(t, err)
			assert.Equal(t, 200, status)
			assert.Equal(t, "hello world", body)
		})
	}
}

func TestFirst(t *testing.T) {
	net, client := greeting(t)
	net.Break("", modtest.First(2, modtest.Status(500)))
	for _, want := range []int{500, 500, 200, 200} {
		status, _, err := get(client, "http://shop.test/")
		require.NoError(t, err)
		assert.Equal(t, want, status)
	}
}

func TestHang(t *testing.T) {
	net, client := greeting(t)
	release := make(chan struct{})
	net.Break("shop.test", modtest.Hang(release))
	answers := make(chan int)
	for range 3 {
		go func() {
			status, _, _ := get(client, "http://shop.test/")
			answers <- status
		}()
	}
	net.Await("shop.test", 3)
	for _, r := range net.Requests("shop.test") {
		assert.Zero(t, r.Status)
		assert.False(t, r.Done)
	}
	close(release)
	for range 3 {
		assert.Equal(t, 200, <-answers)
	}
}

func TestHangEndsWithTheTest(t *testing.T) {
	over := make(chan error, 2)
	t.Run("inner", func(t *testing.T) {
		net, client := greeting(t)
		net.Secure("shop.test")
		net.Break("shop.test", modtest.Hang(nil))
		for _, scheme := range []string{"http", "https"} {
			go func() {
				_, _, err := get(client, scheme+"://shop.test/")
				over <- err
			}()
		}
		net.Await("shop.test", 2)
	})
	assert.Error(t, <-over)
	assert.Error(t, <-over)
}

func TestHangEndsWithTheClient(t *testing.T) {
	net, client := greeting(t)
	net.Break("shop.test", modtest.Hang(nil))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		net.Await("shop.test", 1)
		cancel()
	}()
	req, err := http.NewRequestWithContext(ctx, "GET", "http://shop.test/", nil)
	require.NoError(t, err)
	_, err = client.Do(req)
	assert.ErrorIs(t, err, context.Canceled)
}
