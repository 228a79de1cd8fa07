package fetcher_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// A strictHost answers 400 to a request that git would not send. Some large hosts
// refuse those that lack multi_ack, or come from what does not call itself git.
func strictHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err == nil {
				body, _ = io.ReadAll(z)
			}
		} else if len(body) > 1024 {
			http.Error(w, "git compresses that", http.StatusBadRequest)
			return
		}
		wrong := !strings.HasPrefix(r.Header.Get("User-Agent"), "git/")
		if r.Method == http.MethodPost {
			wrong = wrong || r.Header.Get("Content-Type") != "application/x-git-upload-pack-request" ||
				r.Header.Get("Accept") != "application/x-git-upload-pack-result"
			if text := string(body); strings.Contains(text, "want ") && !strings.Contains(text, "command=") {
				for _, word := range []string{"multi_ack_detailed", "side-band-64k", "thin-pack", "ofs-delta", "no-progress", "agent=git/"} {
					wrong = wrong || !strings.Contains(text, " "+word)
				}
			}
		} else {
			wrong = wrong || r.Header.Get("Git-Protocol") != "version=2" || r.Header.Get("Pragma") != "no-cache"
		}
		if wrong {
			http.Error(w, "no git", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// TestStrictHosts fetches from a host that insists on what git announces, in both
// versions of its protocol.
func TestStrictHosts(t *testing.T) {
	for _, old := range []bool{false, true} {
		n := modtest.NewInternet(t, modtest.Ready(t, "simple")...)
		httpPage(n, "corp.test/simple", "git", "http://git.test/simple")
		n.Break("git.test/simple", func(next http.Handler) http.Handler {
			if old {
				next = modtest.OldGit()(next)
			}
			return strictHost(next)
		})
		f := newFetcher(t, n, func(o *fetcher.Options) { o.RefsTTL = 1 })
		for _, version := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
			got, err := modtest.FetchAll(t, f, "corp.test/simple", version)
			require.NoError(t, err)
			assert.NotEmpty(t, got.Sum)
		}
	}
}
