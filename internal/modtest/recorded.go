package modtest

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fullEnv asks the go command for everything; with the value "update" the tests
// that compare answers also record them.
const fullEnv = "ATHENS_FULL"

// Full reports whether tests shall ask the go command for everything that they
// compare with it, and not only for one reference of each kind: the environment has
// ATHENS_FULL=1. It takes minutes.
func Full() bool { return os.Getenv(fullEnv) != "" }

// Answer is what the go command answers for one reference, or its list of a module.
type Answer struct {
	Ref      string    // path@query, or the path alone for a list
	Refused  bool      `json:",omitempty"`
	Version  string    `json:",omitempty"`
	Time     time.Time `json:",omitzero"`
	Origin   *Origin   `json:",omitempty"`
	Sum      string    `json:",omitempty"` // h1 of the zip
	GoModSum string    `json:",omitempty"` // h1 of the go.mod
	Versions []string  `json:",omitempty"` // of a list
}

// Answer returns what d says, without what differs between two runs: the files, and
// the words of an error.
func (d Download) Answer(ref string) Answer {
	if d.Error != "" {
		return Answer{Ref: ref, Refused: true}
	}
	a := Answer{Ref: ref, Version: d.Version, Origin: d.Origin, Sum: d.Sum, GoModSum: d.GoModSum}
	if d.Stored != nil {
		a.Time = d.Stored.Time
	}
	return a
}

// Recorded holds the go command's answers about one repository. They were recorded,
// since asking takes about a second for each. A test binary whose repository is not
// the one of the recording, or of which [Full] is true, asks the go command itself,
// and so does every test for the representatives: one reference of each kind, as
// kindOf tells them apart. What it then says must be what was recorded.
//
// "ATHENS_FULL=update go test ./fetcher/..." records all answers anew.
type Recorded struct {
	t    testing.TB
	name string
	held map[string]Answer // nil if there is no recording of this state
	live map[string]bool   // the representatives

	mu    sync.Mutex
	state string
	fresh map[string]Answer
}

// recordLine is a line of the recording.
type recordLine struct {
	Repo, State string
	Answer
}

const recordFile = "testdata/answers.jsonl"

//go:embed testdata/answers.jsonl
var recorded embed.FS

// NewRecorded opens the recording of the repository with that name. state is a text
// that changes when the repository does.
func NewRecorded(t testing.TB, name, state string) *Recorded {
	t.Helper()
	all, err := recording()
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256([]byte(state))
	r := &Recorded{t: t, name: name, state: fmt.Sprintf("%x", hash[:6]), fresh: make(map[string]Answer)}
	if all.states[name] == r.state {
		r.held, r.live = all.answers[name], all.live[name]
	}
	if os.Getenv(fullEnv) == "update" {
		t.Cleanup(r.write)
	}
	return r
}

// Get returns the answers for refs, in their order. It calls ask for those that are
// not recorded or that the go command has to confirm; ask must return one answer for
// each.
func (r *Recorded) Get(refs []string, ask func(refs []string) []Answer) []Answer {
	r.t.Helper()
	got := make(map[string]Answer)
	var unknown []string
	for _, ref := range refs {
		a, held := r.held[ref]
		if got[ref] = a; !held || r.live[ref] || Full() {
			unknown = append(unknown, ref)
		}
	}
	if len(unknown) > 0 {
		answers := ask(unknown)
		if len(answers) != len(unknown) {
			r.t.Fatalf("%d answers for %d references", len(answers), len(unknown))
		}
		for i, ref := range unknown {
			r.confirm(ref, answers[i])
			got[ref] = answers[i]
		}
	}
	list := make([]Answer, len(refs))
	for i, ref := range refs {
		list[i] = got[ref]
	}
	return list
}

// confirm compares an answer of the go command with the recorded one, if there is one.
func (r *Recorded) confirm(ref string, now Answer) {
	r.t.Helper()
	then, held := r.held[ref]
	if os.Getenv(fullEnv) == "update" {
		r.mu.Lock()
		r.fresh[ref] = now
		r.mu.Unlock()
	} else if held && line(then) != line(now) {
		r.t.Errorf("%s: the go command says\n\t%s\nand it said, when it was recorded,\n\t%s\nATHENS_FULL=update go test ./fetcher/... records it anew", ref, line(now), line(then))
	}
}

// writing is held while the recording is written, which tests do one after another.
var writing sync.Mutex

// write puts what was asked into the file, in place of what there was of it and of
// other states of this repository.
func (r *Recorded) write() {
	file, err := filepath.Abs(recordFile)
	if root, failed := moduleRoot(); failed == nil {
		file, err = filepath.Join(root, "internal", "modtest", recordFile), nil
	}
	writing.Lock()
	defer writing.Unlock()
	var data []byte
	if err == nil {
		data, err = os.ReadFile(file)
	}
	var lines []recordLine
	if err == nil {
		lines, err = readLines(data)
	}
	if err != nil {
		r.t.Error(err)
		return
	}
	lines = slices.DeleteFunc(lines, func(l recordLine) bool {
		_, anew := r.fresh[l.Ref]
		return l.Repo == r.name && (anew || l.State != r.state)
	})
	for _, a := range r.fresh {
		lines = append(lines, recordLine{r.name, r.state, a})
	}
	slices.SortFunc(lines, func(a, b recordLine) int { return cmp.Or(cmp.Compare(a.Repo, b.Repo), cmp.Compare(a.Ref, b.Ref)) })
	var out bytes.Buffer
	for _, l := range lines {
		out.WriteString(line(l) + "\n")
	}
	if err := os.WriteFile(file, out.Bytes(), 0o666); err != nil {
		r.t.Error(err)
	}
}

func line(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func readLines(data []byte) ([]recordLine, error) {
	var lines []recordLine
	s := bufio.NewScanner(bytes.NewReader(data))
	for s.Scan() {
		var l recordLine
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%s: %w", recordFile, err)
		}
		lines = append(lines, l)
	}
	return lines, s.Err()
}

// records is the whole recording, by repository.
type records struct {
	states  map[string]string
	answers map[string]map[string]Answer
	live    map[string]map[string]bool
}

// recording reads the recording and chooses the first reference of each kind.
var recording = sync.OnceValues(func() (*records, error) {
	data, err := recorded.ReadFile(recordFile)
	if err != nil {
		return nil, err
	}
	lines, err := readLines(data)
	if err != nil {
		return nil, err
	}
	all := &records{make(map[string]string), make(map[string]map[string]Answer), make(map[string]map[string]bool)}
	for _, l := range lines {
		if all.answers[l.Repo] == nil {
			all.states[l.Repo], all.answers[l.Repo], all.live[l.Repo] = l.State, make(map[string]Answer), make(map[string]bool)
		}
		all.answers[l.Repo][l.Ref] = l.Answer
	}
	seen := make(map[string]bool)
	for _, repo := range slices.Sorted(maps.Keys(all.answers)) {
		for _, ref := range slices.Sorted(maps.Keys(all.answers[repo])) {
			if k := kindOf(all.answers[repo][ref]); !strings.Contains(repo, "/") && !seen[k] {
				seen[k], all.live[repo][ref] = true, true
			}
		}
	}
	return all, nil
})

// kinds are the kinds of queries, each with what it looks like; the first that fits
// counts.
var kinds = []struct {
	name string
	like *regexp.Regexp
}{
	{"list", regexp.MustCompile(`^$`)},
	{"latest", regexp.MustCompile(`^latest$`)},
	{"pseudo-version", regexp.MustCompile(`[-.][0-9]{14}-[0-9a-f]{12}`)},
	{"incompatible", regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+.*\+incompatible$`)},
	{"prerelease", regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+-`)},
	{"version with more", regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+\+`)},
	{"version", regexp.MustCompile(`^v[0-9]+\.[0-9]+\.[0-9]+$`)},
	{"prefix", regexp.MustCompile(`^v[0-9]+(\.[0-9]+)?$`)},
	{"comparison", regexp.MustCompile(`^[<>]`)},
	{"hash", regexp.MustCompile(`^[0-9a-f]{40}$`)},
	{"short hash", regexp.MustCompile(`^[0-9a-f]{4,39}$`)},
	{"name with slashes", regexp.MustCompile(`/`)},
	{"name", regexp.MustCompile(``)},
}

// kindOf names the kind of a question: what its query looks like, whether its module
// is in a folder of the repository, and whether it has an answer.
func kindOf(a Answer) string {
	_, query, _ := strings.Cut(a.Ref, "@")
	for _, k := range kinds {
		if k.like.MatchString(query) {
			return fmt.Sprintf("%s %t %t", k.name, a.Refused, a.Origin != nil && a.Origin.Subdir != "")
		}
	}
	return ""
}
