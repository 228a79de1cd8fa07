package protocoltest_test

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// expect checks something of the last request. It reports whether name is such a
// command.
//
//	status CODE
//	took DURATION                 until the whole answer was there
//	refused                       an error, or the connection cut: never a whole body
//	header NAME VALUE; header NAME ~ REGEXP; no-header NAME
//	body is TEXT; body contains TEXT; body lacks TEXT; body ~ REGEXP
//	body file M@V info|mod|zip    exactly what a source of it has
//	calls none; calls KIND…       all that the sources were asked since
//	fills none; fills WHAT…       all that was scheduled since, "M@V zip after 10s"
//	fills full                    the scheduler takes no more
//	traced OP…                    all operations since, sorted
//	holds M@V none|FILE…          what the store has now
//	keeps none|NAME…              what the store has of checksum databases now
//	log TEXT…                     the log has each of these since
//	conflicts N; dropped N        alarms, and fills that the scheduler refused, in all; N+ is at least N
//	ends ok|final|retry [TEXT…]   how the last fill ended
func (s *script) expect(name string, args []string) bool {
	synctest.Wait() // for what is detached
	switch name {
	case "status":
		s.equal(args[0], fmt.Sprint(s.got.Code))
	case "took":
		want, err := time.ParseDuration(args[0])
		require.NoError(s.t, err, s.where)
		s.equal(want.String(), s.took.String())
	case "refused":
		if !s.cut && s.got.Code < 400 {
			s.fatalf("it was not refused")
		}
	case "header", "no-header":
		s.expectHeader(name, args)
	case "body":
		s.expectBody(args)
	case "calls":
		s.set(args, s.calls())
	case "fills":
		if s.fills.Full = args[0] == "full"; !s.fills.Full {
			s.set(args, s.fills.Take())
		}
	case "traced":
		s.traceMu.Lock()
		s.set(args, s.traced)
		s.traceMu.Unlock()
	case "holds":
		s.set(args[1:], athenstest.Held(s.t, s.store, s.version(args[0])))
	case "keeps":
		s.set(args, s.store.SumDBFiles(s.t))
	case "log":
		for _, text := range args {
			if !strings.Contains(s.log.String(), text) {
				s.fatalf("the log lacks %s", text)
			}
		}
	case "conflicts":
		got := s.handler.Stats().Conflicts
		if text, ok := strings.CutSuffix(args[0], "+"); ok {
			if least, err := strconv.ParseUint(text, 10, 64); err != nil || got < least {
				s.fatalf("%d conflicts, want %s", got, args[0])
			}
			break
		}
		s.equal(args[0], fmt.Sprint(got))
	case "dropped":
		s.equal(args[0], fmt.Sprint(s.handler.Stats().DroppedFills))
	case "ends":
		s.expectFill(args)
	default:
		return false
	}
	return true
}

func (s *script) equal(want, got string) {
	s.t.Helper()
	if want != got {
		s.fatalf("got %q, want %q", got, want)
	}
}

// set compares words in any order; "none" is no word.
func (s *script) set(want, got []string) {
	s.t.Helper()
	want, got = slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(got))
	if slices.Equal(want, []string{"none"}) {
		want = nil
	}
	if !slices.Equal(want, got) {
		s.fatalf("got %q, want %q", got, want)
	}
}

func (s *script) expectHeader(name string, args []string) {
	got := strings.Join(s.last.Values(args[0]), ", ")
	switch {
	case name == "no-header":
		s.equal("", got)
	case args[1] == "~":
		s.match(args[2], got)
	default:
		s.equal(args[1], got)
	}
}

func (s *script) match(pattern, got string) {
	if !regexp.MustCompile(pattern).MatchString(got) {
		s.fatalf("%q does not match %q", got, pattern)
	}
}

func (s *script) expectBody(args []string) {
	got := s.got.Body.String()
	switch args[0] {
	case "is":
		s.equal(args[1], got)
	case "~":
		s.match(args[1], got)
	case "contains", "lacks":
		for _, text := range args[1:] {
			if strings.Contains(got, text) != (args[0] == "contains") {
				s.fatalf("it %s %q", args[0], text)
			}
		}
	case "file":
		v := athenstest.NewVersion(s.t, s.version(args[1]))
		file := map[string][]byte{"info": v.Info, "mod": v.Mod, "zip": v.Zip}[args[2]]
		s.equal(string(file), got)
	default:
		s.fatalf("no such expectation")
	}
}

func (s *script) expectFill(args []string) {
	switch {
	case args[0] == "ok":
		require.NoError(s.t, s.err, s.where)
		return
	case s.err == nil:
		s.fatalf("the fill ended well")
	}
	s.equal(args[0], map[bool]string{true: "final", false: "retry"}[athens.Final(s.err)])
	for _, text := range args[1:] {
		if !strings.Contains(s.err.Error(), text) {
			s.fatalf("%q lacks %q", s.err, text)
		}
	}
}

// checkResponse checks what holds for every response.
func (s *script) checkResponse(r *http.Request) {
	code, body, header, head := s.got.Code, s.got.Body.String(), s.last, r.Method == http.MethodHead
	if s.cut {
		return
	}
	if head && body != "" {
		s.fatalf("a body for HEAD")
	}
	if strings.Contains(header.Get("Cache-Control"), "public") {
		s.fatalf("a shared cache may keep it")
	}
	if n := header.Get("Content-Length"); n != "" && n != fmt.Sprint(len(body)) && !head && code != http.StatusNotModified {
		s.fatalf("Content-Length is %s, the body has %d bytes", n, len(body))
	}
	if code < 400 || code == http.StatusRequestedRangeNotSatisfiable {
		return
	}
	s.checkErrorHeader(code, header)
	if !head {
		s.checkErrorBody(code, body, r.URL.Path)
	}
}

// statusesToRetry are the statuses of errors that may pass; each must say when to ask
// again, but for a bad gateway, which only may.
var statusesToRetry = []int{http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusInsufficientStorage}

// checkErrorHeader checks the header of an error: nobody may keep it.
func (s *script) checkErrorHeader(code int, header http.Header) {
	for name, want := range map[string]string{
		"Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"Etag": "", "Last-Modified": "", "Location": "",
	} {
		s.equal(want, header.Get(name))
	}
	must := slices.Contains(statusesToRetry, code)
	if retry := header.Get("Retry-After"); must && retry == "" || !must && retry != "" && code != http.StatusBadGateway {
		s.fatalf("Retry-After is %q", retry)
	}
}

// checkErrorBody checks that the go command shows an error's text, and that it says
// which module was asked for, unless the path makes no sense.
func (s *script) checkErrorBody(code int, body, path string) {
	if err := athenstest.CheckErrorText(body); err != nil {
		s.fatalf("the go command hides this error: %v", err)
	}
	if slices.Contains([]int{http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusRequestURITooLong}, code) {
		return
	}
	asked, _, ok := strings.Cut(strings.TrimPrefix(path, "/"), "/@")
	if ok && !strings.Contains(body, unescape(asked)) {
		s.fatalf("the error does not say which module")
	}
}

// unescape undoes the protocol's case encoding.
func unescape(escaped string) string {
	var b strings.Builder
	upper := false
	for _, r := range escaped {
		switch {
		case r == '!':
			upper = true
			continue
		case upper:
			r = unicode.ToUpper(r)
		}
		upper = false
		b.WriteRune(r)
	}
	return b.String()
}

// dump shows the last response.
func (s *script) dump() string {
	if s.got == nil {
		return "none"
	}
	return fmt.Sprintf("%d cut=%v %v\n%.700q", s.got.Code, s.cut, s.last, s.got.Body)
}
