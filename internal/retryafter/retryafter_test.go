package retryafter_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/athens-go/athens/internal/retryafter"
)

func ExampleSet() {
	header := http.Header{}
	retryafter.Set(header, 1500*time.Millisecond)
	fmt.Println(header)
	fmt.Println(retryafter.Parse(header, time.Hour))
	// Output:
	// map[Retry-After:[2]]
	// 2s
}

// A wait is rounded up, so that the client does not come back too early, and none is no header.
func TestSet(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		-time.Second: "", 0: "", 1: "1", time.Second: "1", time.Second + 1: "2", 2 * time.Hour: "7200", 1 << 62: "4611686019",
	} {
		header := http.Header{}
		retryafter.Set(header, wait)
		assert.Equal(t, want, header.Get("Retry-After"), wait)
	}
}

func TestParse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // the time stands still
		for text, want := range map[string]time.Duration{
			"": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "1.5": 1500 * time.Millisecond, "0": 0,
			"-7": 0, "soon": 0, "1h": 0, "1.2.3": 0, "1e3": 0, "Inf": 0, ".": 0,
			"99999999999": time.Hour, strings.Repeat("9", 400): time.Hour,
			time.Now().Add(time.Minute).UTC().Format(http.TimeFormat):    time.Minute,
			time.Now().Add(-time.Minute).UTC().Format(http.TimeFormat):   0,
			time.Now().Add(30 * time.Hour).UTC().Format(http.TimeFormat): time.Hour,
		} {
			assert.Equal(t, want, retryafter.Parse(http.Header{"Retry-After": {text}}, time.Hour), text)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "5", "-5", "99999999999999999999", "Mon, 02 Jan 2006 15:04:05 GMT", "Mon, 02 Jan 9999 15:04:05 GMT", "soon"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if d := retryafter.Parse(http.Header{"Retry-After": {text}}, 24*time.Hour); d < 0 || d > 24*time.Hour {
			t.Errorf("%v", d)
		}
	})
}
