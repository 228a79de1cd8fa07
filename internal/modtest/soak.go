package modtest

import (
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"
)

// Eventually waits at most two minutes until ok returns true. It is for conditions that no
// event announces.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(2 * time.Minute); !ok(); <-tick.C {
		if time.Now().After(limit) {
			t.Fatalf("waited 2 minutes until %s", what)
		}
	}
}

// Get asks a URL on loopback and follows no redirect.
func Get(t testing.TB, target string) (status int, body string) {
	t.Helper()
	resp := GetResponse(t, target)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	return resp.StatusCode, string(b)
}

// GetResponse is [Get] with headers; the caller closes the body.
func GetResponse(t testing.TB, target string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// Soak returns how often a test tries: few times, or many if ATHENS_SOAK is set.
func Soak(few, many int) int {
	if os.Getenv("ATHENS_SOAK") != "" {
		return many
	}
	return few
}

// Rand returns a random source. It logs its seed; ATHENS_SEED repeats a run.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv("ATHENS_SEED"), 10, 64)
	if err != nil {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("ATHENS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}
