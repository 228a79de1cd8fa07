package protocoltest_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// Options.AllowFetch is asked once about a request that costs a fetch, and never about one
// for what is stored, remembered or scheduled. What it refuses reaches no source.
func TestAllowFetch(t *testing.T) {
	for name, c := range map[string]struct {
		options  func(*athenstest.Source) athens.Options
		requests string // in order; those with + cost a fetch
	}{
		"version control": {
			func(s *athenstest.Source) athens.Options {
				return athens.Options{Fetcher: s, Fills: &athenstest.Fills{}, Prefetch: -1}
			},
			"+v/v1.0.0.info v/v1.0.0.mod +v/v1.0.0.zip v/v1.0.0.zip +v/list v/list +latest latest +v/main.info v/main.info +v/v1.9.0.info v/v1.9.0.info",
		},
		"fetching": {
			func(s *athenstest.Source) athens.Options {
				return athens.Options{Upstream: athenstest.NewUpstream(s, "http://up.test"), MissFetch: true, Fills: &athenstest.Fills{}, Prefetch: -1}
			},
			"+v/v1.0.0.zip v/v1.0.0.zip v/v1.0.0.info v/v1.0.0.mod +v/list v/list",
		},
		"redirecting": {
			func(s *athenstest.Source) athens.Options {
				return athens.Options{Upstream: athenstest.NewUpstream(s, "http://up.test"), Fills: &athenstest.Fills{}}
			},
			"+v/v1.0.0.info v/v1.0.0.mod v/v1.0.0.info +v/v1.0.0.zip v/v1.0.0.zip v/v1.0.0.mod +latest latest",
		},
	} {
		t.Run(name, func(t *testing.T) {
			source := athenstest.NewSource(t, "source")
			source.Add(athenstest.Example)
			source.SetQuery(athenstest.Example.Path, "main", "v1.0.0")
			opts := c.options(source)
			asked := 0
			var verdict error
			opts.AllowFetch = func(_ *http.Request, m module.Version) error {
				assert.Equal(t, athenstest.Example.Path, m.Path)
				asked++
				return verdict
			}
			h, err := athens.NewHandler(athenstest.NewStore(t), &opts)
			require.NoError(t, err)
			for path := range strings.FieldsSeq(c.requests) {
				path, costs := strings.CutPrefix(path, "+")
				source.Reset()
				asked, verdict = 0, &athens.RefusedError{Status: http.StatusTooManyRequests, Reason: "enough for now", RetryAfter: 90 * time.Second}
				w, _ := athenstest.Ask(t.Context(), h, "/"+athenstest.Example.Path+"/@"+path)
				if !costs {
					assert.NotEqual(t, http.StatusTooManyRequests, w.Code, path)
					assert.Zero(t, asked, path)
					continue
				}
				assert.Equal(t, http.StatusTooManyRequests, w.Code, path)
				assert.Equal(t, "90", w.Header().Get("Retry-After"), path)
				assert.Contains(t, w.Body.String(), "enough for now", path)
				require.NoError(t, athenstest.CheckErrorText(w.Body.String()))
				assert.Empty(t, source.Heard(), path)
				asked, verdict = 0, nil
				w, _ = athenstest.Ask(t.Context(), h, "/"+athenstest.Example.Path+"/@"+path)
				assert.NotEqual(t, http.StatusTooManyRequests, w.Code, path)
				assert.Equal(t, 1, asked, path)
			}
			require.NoError(t, h.Shutdown(t.Context()))
		})
	}
}

// Other errors of AllowFetch are answered as those of Allow, and Allow may refuse with 429.
func TestRefusalsOfHooks(t *testing.T) {
	for status, err := range map[int]error{
		http.StatusForbidden:       assert.AnError,
		http.StatusUnauthorized:    &athens.RefusedError{Status: http.StatusUnauthorized, Reason: "log in"},
		http.StatusTooManyRequests: &athens.RefusedError{Status: http.StatusTooManyRequests, Reason: "slowly"},
	} {
		refuse := func(*http.Request, module.Version) error { return err }
		for name, opts := range map[string]*athens.Options{
			"Allow":      {Allow: refuse, Fetcher: athenstest.NewSource(t, "vcs")},
			"AllowFetch": {AllowFetch: refuse, Fetcher: athenstest.NewSource(t, "vcs")},
		} {
			h, newErr := athens.NewHandler(athenstest.NewStore(t), opts)
			require.NoError(t, newErr)
			for _, path := range []string{athenstest.ZipPath, "/example.com/m/@v/list"} {
				w, _ := athenstest.Ask(t.Context(), h, path)
				assert.Equal(t, status, w.Code, "%s %s: %s", name, path, w.Body)
				assert.Contains(t, w.Body.String(), err.Error())
			}
			require.NoError(t, h.Shutdown(t.Context()))
		}
	}
}
