// Package athenstest has fakes of what a handler stands on, for tests of the
// protocol: sources, a store and a queue that record what they are asked and fail
// the way a test tells them to.
//
//	store := athenstest.NewStore(t)
//	vcs := athenstest.NewSource(t, "vcs")
//	v := vcs.Add(athenstest.Example)
//	handler, err := athens.NewHandler(store, &athens.Options{Fetcher: vcs})
//	w, _ := athenstest.Ask(t.Context(), handler, athenstest.ZipPath) // 200, v.Zip
//	vcs.Take()                                                     // vcs.fetch vcs.info …
//
// A [Source] is version control, and inside an [Upstream] a registry; [Source.Fail]
// makes a kind of question fail, [Source.Gate] makes it wait. A [Store] is a real
// store in memory whose operations can be failed, gated and counted. [Fills] records
// what is scheduled. All of them may be used by several goroutines.
package athenstest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/module"
)

// Example is the version that most tests ask for.
var Example = module.Version{Path: "example.com/m", Version: "v1.0.0"}

// Ask sends a request to a handler in this process; cut says that the handler cut the
// connection.
func Ask(ctx context.Context, h http.Handler, path string) (w *httptest.ResponseRecorder, cut bool) {
	w = httptest.NewRecorder()
	defer func() {
		if v := recover(); v != nil {
			if v != http.ErrAbortHandler {
				panic(v)
			}
			cut = true
		}
	}()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	return w, false
}

// The paths of the files of [Example], and of questions about its module.
const (
	InfoPath   = "/example.com/m/@v/v1.0.0.info"
	ModPath    = "/example.com/m/@v/v1.0.0.mod"
	ZipPath    = "/example.com/m/@v/v1.0.0.zip"
	ListPath   = "/example.com/m/@v/list"
	LatestPath = "/example.com/m/@latest"
	QueryPath  = "/example.com/m/@v/main.info"
)

// CheckErrorText checks that the go command would show a body to its user.
func CheckErrorText(body string) error {
	line, ok := strings.CutSuffix(body, "\n")
	switch {
	case len(body) > 600:
		return errors.New("longer than 600 bytes")
	case !ok || strings.TrimSpace(line) == "" || !utf8.ValidString(line):
		return errors.New("not a line")
	}
	for _, r := range line {
		if !unicode.IsPrint(r) {
			return fmt.Errorf("has %q", r)
		}
	}
	return nil
}
