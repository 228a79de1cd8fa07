package redirect

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/athens-go/athens"
)

// byPath answers by the beginning of a path.
type byPath map[string]string

func (b byPath) RoundTrip(r *http.Request) (*http.Response, error) {
	for prefix, body := range b {
		if strings.HasPrefix(r.URL.Path, prefix) {
			return &http.Response{StatusCode: http.StatusOK, ContentLength: -1, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}, Request: r}, nil
		}
	}
	return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
}

// FuzzChecksums asks a checksum database that answers anything at all, and whose key
// nobody has: nothing it says is believed, and what is said of it is one line.
func FuzzChecksums(f *testing.F) {
	const key = "sum.test+8a0e7e48+AaJJ704Lp9a0ilga9oJvXiSeCKKH+4JwqDP1w4MluCRQ"
	const tree = "go.sum database tree\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n\u2014 sum.test Az3grnmr\n"
	f.Add("0\nexample.com/m v1.0.0 h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"+tree, "\x00")
	f.Add("9223372036854775807\nx\n\n"+tree, strings.Repeat("a", 32))
	f.Add("-1\n\n", "")
	f.Add("0\n\x1b[31m\n\n"+strings.Repeat("\u2014 x y\n", 200), "")
	f.Fuzz(func(t *testing.T, record, tile string) {
		c, err := NewChecksums(key+" http://sum.test", &Options{Transport: byPath{"/lookup/": record, "/tile/": tile}, Tries: 1, Netrc: "none"})
		if err != nil {
			t.Fatal(err)
		}
		lines, err := c.Lookup("example.com/m", "v1.0.0")
		if err == nil {
			t.Fatalf("%q is believed", lines)
		}
		if strings.ContainsAny(err.Error(), "\n\r\x1b\x00") {
			t.Errorf("%q", err)
		}
		var (
			missing *athens.MissingError
			invalid *athens.InvalidError
			down    *athens.UnavailableError
		)
		if !errors.As(err, &missing) && !errors.As(err, &invalid) && !errors.As(err, &down) {
			t.Errorf("%T %v", err, err)
		}
	})
}
