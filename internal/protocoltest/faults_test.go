package protocoltest_test

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
)

// faulty are the calls that can go wrong, and how.
var faulty = []struct {
	sites, hows string
}{
	{"open put versions stage commit", "failed full happened canceled deadline hang deaf panic"},
	{"put stage commit", "lost"},
	{"read", "failed happened deaf panic early"},
	{"write readat", "failed full happened deaf panic nothing"},
	{"close", "failed happened deaf panic"},
	{"fetch info mod zip list latest query sumdb location lookup", "down busy slow missing-outage odd socket noise secret happened canceled deadline deaf panic"},
	{"fetch info mod zip list latest query sumdb location", "hang"},
	{"fetch info mod zip list latest query sumdb lookup", "missing forbidden invalid loop"},
	{"fetch info mod zip latest query lookup", "nothing"},
	{"info", "other-version huge"},
	{"mod", "text huge"},
	{"zip", "truncated cut text huge other-mod other-version"},
	{"latest query", "garbage"},
	{"schedule", "failed happened canceled deaf hang panic"},
	{"route allow trace traced", "panic"},
}

// expected says which statuses an answer may have, apart from the right answer, where
// calls go wrong in this way.
func (f fault) expected() []int {
	source := strings.Contains(" fetch info mod zip list latest query sumdb location lookup ", " "+f.call+" ")
	if f.call == "read" || f.call == "readat" {
		return []int{0, 500, 502, 503, 504, 507} // the answer had begun, or the check reads
	}
	switch f.how {
	case "missing":
		if f.call == "lookup" {
			return []int{502} // not vouched for is not missing
		}
		return []int{404}
	case "forbidden":
		if f.call == "lookup" {
			return []int{502} // it is no rule of this server's
		}
		return []int{403}
	case "invalid", "loop", "odd", "socket", "noise", "secret", "other-version", "other-mod", "huge", "text", "truncated", "garbage":
		return []int{502}
	case "nothing":
		if source {
			return []int{500, 502}
		}
		return []int{503}
	case "slow":
		return []int{504}
	case "deadline", "hang", "deaf", "happened", "canceled":
		return []int{502, 503, 504}
	case "full":
		return []int{507}
	case "panic":
		return []int{0, 500} // the first where it is in the request's own goroutine
	}
	return []int{503}
}

// knownBadFaults are faults that broke a promise once; each run tries them.
const knownBadFaults = "lookup missing-outage; write nothing; readat nothing;"

var faultPaths = []string{athenstest.InfoPath, athenstest.ModPath, athenstest.ZipPath, athenstest.ListPath, athenstest.LatestPath, athenstest.QueryPath, "/sumdb/sum.test/supported"}

// TestEveryFault lets each call of each contract and hook go wrong in each way, for
// each kind of server and request, and checks what is promised all the same: an answer
// of the right kind, never a wrong 200, nobody left waiting, nothing bad stored,
// nothing left open, and that all of it is good again when the fault has passed.
//
// An ordinary run tries a sixteenth of them and some pairs; with ATHENS_SOAK all of them
// and many pairs.
func TestEveryFault(t *testing.T) {
	for _, r := range wirings {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			rnd := modtest.Rand(t)
			n := 0
			for _, held := range []string{"", "meta", "whole"} {
				for _, path := range faultPaths {
					wrong, calls := tryFaults(t, r, held, path)
					require.Empty(t, wrong, "held %q, %s, and no fault", held, path)
					require.False(t, held == "whole" && calls["mod"]+calls["zip"]+calls["fetch"]+calls["location"] > 0, "what is held is asked for")
					all := slices.Collect(r.faults(calls))
					tries := make([][]fault, 0, len(all))
					for _, f := range all {
						if rnd.IntN(modtest.Soak(16, 1)) == 0 || strings.Contains(knownBadFaults, f.String()+";") {
							tries = append(tries, []fault{f})
						}
					}
					for range modtest.Soak(3, 500) {
						tries = append(tries, []fault{all[rnd.IntN(len(all))], all[rnd.IntN(len(all))]})
					}
					for _, try := range tries {
						wrong, _ := tryFaults(t, r, held, path, try...)
						for _, w := range wrong {
							t.Errorf("held %q, %s, %v: %s", held, path, try, w)
						}
						n++
					}
				}
			}
			t.Logf("%d faults and pairs of faults", n)
		})
	}
}

// faults are all there are of calls that are made so often. An upstream is believed
// the go.mod in its zip, unless a checksum database knows better.
func (r wiring) faults(calls map[string]int) iter.Seq[fault] {
	return func(yield func(fault) bool) {
		for _, group := range faulty {
			for site := range strings.FieldsSeq(group.sites) {
				for how := range strings.FieldsSeq(group.hows) {
					if how == "other-mod" && r.upstream && !r.private && !r.checked {
						continue
					}
					for nth := range min(calls[site], 2) + 1 {
						if calls[site] > 0 && !yield(fault{site, how, nth}) {
							return
						}
					}
				}
			}
		}
	}
}

// tryFaults runs a server under faults, and returns what went wrong, and how often each call was made.
func tryFaults(t *testing.T, r wiring, held, path string, faults ...fault) (wrong []string, calls map[string]int) {
	synctest.Test(t, func(t *testing.T) {
		s, end := newFaultEnv(&fixture{T: t}, r, held, faults)
		s.crowd(path)
		s.sound()
		s.mend()
		switch {
		case slices.ContainsFunc(faults, func(f fault) bool { return f.how == "deaf" || f.how == "hang" && len(faults) > 1 }):
			time.Sleep(2 * deafTime) // it may have begun just now, and the other one ended it for those who waited
		case slices.ContainsFunc(faults, func(f fault) bool { return f.nth > 0 }):
			time.Sleep(2 * time.Minute) // a "not found" is remembered for one
		default:
			time.Sleep(3 * time.Hour) // nobody asks again
			s.sound()
		}
		for range 2 {
			if status, why := s.ask(s.Context(), path); !s.good(path, status) {
				s.wrongly("afterwards status %d: %s", status, why)
			}
		}
		time.Sleep(3 * time.Hour)
		s.sound()
		if slices.ContainsFunc(faults, fault.final) {
			s.ask(s.Context(), athenstest.ZipPath)
			time.Sleep(3 * time.Hour)
		}
		for _, file := range s.owed(path, held) {
			if !slices.Contains(athenstest.Held(t, s.held, athenstest.Example), file) {
				s.wrongly("the .%s is not stored in the end", file)
			}
		}
		end()
		wrong, calls = s.wrong, s.p.calls
	})
	return wrong, calls
}

// good reports whether a status is what a client gets where nothing goes wrong.
func (s *faultEnv) good(path string, status int) bool {
	redirects := s.wiring.upstream && !s.through && !s.private
	switch {
	case strings.HasPrefix(path, "/sumdb") && !s.wiring.upstream:
		return status == http.StatusNotFound
	case strings.HasPrefix(path, "/sumdb") && s.private:
		return status == http.StatusForbidden
	}
	return status == http.StatusOK || redirects && status == http.StatusFound
}

// final reports whether a zip that is owed may be given up because of it, until
// somebody asks for it.
func (f fault) final() bool {
	return f.call == "schedule" || slices.Contains(f.expected(), http.StatusBadGateway) || slices.Contains([]string{"missing", "forbidden"}, f.how)
}

// owed are the files that are stored some time after path was asked for.
func (s *faultEnv) owed(path, held string) []string {
	switch {
	case path != athenstest.InfoPath && path != athenstest.ModPath && path != athenstest.ZipPath:
		return nil
	case path == athenstest.ZipPath, held == "" && (!s.wiring.upstream || s.private) && !s.alone:
		return []string{"info", "mod", "zip"}
	}
	return []string{"info", "mod"}
}

// waitFor lets time pass, which under testing/synctest takes none.
func waitFor(d time.Duration) { time.Sleep(d) }

// crowd lets three clients ask at once, and one that soon leaves.
func (s *faultEnv) crowd(path string) {
	var want []int
	for _, f := range s.p.faults {
		want = append(want, f.expected()...)
	}
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			patience := 2 * time.Hour
			if i == 0 {
				patience = 500 * time.Millisecond
			}
			ctx, leave := context.WithTimeout(s.Context(), patience)
			defer leave()
			status, why := s.ask(ctx, path)
			switch {
			case s.good(path, status), i == 0 && status != http.StatusNotFound:
			case status == 0 && s.through && path == athenstest.ZipPath: // the client could follow it
			case !slices.Contains(want, status):
				s.wrongly("status %d, not in %v: %s", status, want, why)
			}
		})
	}
	clients.Wait()
}

// ask asks once. It checks all that does not depend on the fault; the status is 0 where
// the connection was cut.
func (s *faultEnv) ask(ctx context.Context, path string) (status int, why string) {
	w, cut := s.serve(ctx, path)
	if cut {
		return 0, "cut"
	}
	body := w.Body.String()
	switch w.Code {
	case http.StatusOK:
		s.right(path, body)
	case http.StatusFound:
		if to := w.Header().Get("Location"); to != "http://registry.test"+path {
			s.wrongly("sent to %s", to)
		}
	default:
		s.checkError(w.Code, w.Header(), body)
	}
	return w.Code, body
}

// serve answers one request; cut is true where the client's connection would break,
// as it does at a panic of a fault and where a body is shorter than its length.
func (s *faultEnv) serve(ctx context.Context, path string) (w *httptest.ResponseRecorder, cut bool) {
	w = httptest.NewRecorder()
	defer func() {
		if v := recover(); v != nil {
			cut = true
			if _, injected := v.(string); v != http.ErrAbortHandler && !injected {
				panic(v)
			}
		}
	}()
	s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
	n, err := strconv.Atoi(w.Header().Get("Content-Length"))
	return w, err == nil && w.Body.Len() < n
}

// checkError checks an answer that is an error.
func (s *faultEnv) checkError(status int, header http.Header, body string) {
	retry := header.Get("Retry-After")
	if slices.Contains([]int{503, 504, 507}, status) && retry == "" || retry != "" && (status < 502 || status > 507) {
		s.wrongly("status %d, Retry-After %q", status, retry)
	}
	if err := athenstest.CheckErrorText(body); err != nil || strings.Contains(body, "s3cret") {
		s.wrongly("error body %q: %v", body, err)
	}
	if n := header.Get("Content-Length"); n != strconv.Itoa(len(body)) {
		s.wrongly("Content-Length %s of %q", n, body)
	}
}

// right checks the body of a 200.
func (s *faultEnv) right(path, body string) {
	var info athens.Info
	switch path {
	case athenstest.ModPath, athenstest.ZipPath:
		want := map[string][]byte{athenstest.ModPath: s.truth.Mod, athenstest.ZipPath: s.truth.Zip}[path]
		if body != string(want) {
			s.wrongly("200 with %.200q", body)
		}
	case athenstest.ListPath:
		if body != "v1.0.0\n" {
			s.wrongly("200 with %.200q", body)
		}
	case athenstest.InfoPath, athenstest.LatestPath, athenstest.QueryPath:
		if err := json.Unmarshal([]byte(body), &info); err != nil || info.Version != athenstest.Example.Version || info.Time.IsZero() {
			s.wrongly("200 with %.200q", body)
		}
	}
}

// sound checks that all that is held is the truth.
func (s *faultEnv) sound() {
	for file, path := range map[athens.File]string{athens.InfoFile: athenstest.InfoPath, athens.ModFile: athenstest.ModPath, athens.ZipFile: athenstest.ZipPath} {
		obj, err := s.held.Open(s.Context(), athenstest.Example, file)
		if err != nil {
			continue
		}
		body, err := io.ReadAll(obj.Body)
		require.NoError(s, err)
		require.NoError(s, obj.Body.Close())
		s.right(path, string(body))
	}
}
