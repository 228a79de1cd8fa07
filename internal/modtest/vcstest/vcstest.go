// Package vcstest lends the repositories that the go command is tested with,
// and what its tests expect of them, to tests of this project.
//
// Both are read from the GOROOT of the machine that runs the test; nothing of
// them is kept here. A repository is a script in testdata/vcstest: it is made
// anew each time, by the version control systems that are installed, and it says
// itself what hashes must come out. The expectations are the tables of
// internal/modfetch's tests.
//
//	src := vcstest.Open(t)
//	for _, name := range src.Names("git") { // "git/hello", …
//		repo := src.Build(t, name)
//		net.Handle(vcstest.Host+"/"+name, repo.Handler("/"+name))
//	}
//
// The scripts are written for a server at [Host], whose name stands in the
// module paths of their go.mod files.
package vcstest

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/athens-go/athens/internal/modtest"
)

// Host is where the scripts' repositories are served, by their names.
const Host = "vcs-test.golang.org"

// Source is where the sources of the go command are.
type Source struct{ cmdGo string }

// Open finds the sources of the machine's go command. The test is skipped if
// they are not there, as in distributions that leave out what only tests need.
func Open(t testing.TB) *Source {
	t.Helper()
	goroot, err := gorootOf()
	if err != nil {
		t.Fatal(err)
	}
	s := &Source{filepath.Join(goroot, "src", "cmd", "go")}
	for _, name := range []string{s.scripts(), s.tables()} {
		if _, err := os.Stat(name); err != nil {
			t.Skipf("this GOROOT lacks the go command's tests: %v", err)
		}
	}
	return s
}

// gorootOf asks the go command, for the test itself may be built with -trimpath.
var gorootOf = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	return strings.TrimSpace(string(out)), err
})

func (s *Source) scripts() string { return filepath.Join(s.cmdGo, "testdata", "vcstest") }

func (s *Source) tables() string {
	return filepath.Join(s.cmdGo, "internal", "modfetch", "coderepo_test.go")
}

// Names lists the scripts in a folder of the scripts': "git", "hg", "go/mod".
func (s *Source) Names(folder string) []string {
	files, _ := filepath.Glob(filepath.Join(s.scripts(), folder, "*.txt"))
	var names []string
	for _, f := range files {
		names = append(names, folder+"/"+strings.TrimSuffix(filepath.Base(f), ".txt"))
	}
	slices.Sort(names)
	return names
}

// Repo is what a script has made.
type Repo struct {
	Name string // of the script, such as "git/hello"
	VCS  string // how it is to be served, such as "git"; "dir": plain files
	Dir  string // where it is

	t   testing.TB
	env []string
}

// Build runs a script. The test is skipped if the script says so or a program
// that it needs is not installed, and fails if the outcome is not what the
// script expects.
func (s *Source) Build(t testing.TB, name string) *Repo {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.scripts(), filepath.FromSlash(name)+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	// Some scripts go by the name of the folder that they work in.
	root := t.TempDir()
	run := newMachine(filepath.Join(root, filepath.Base(name)), filepath.Join(root, "home"))
	err = run.prepare()
	script, files := modtest.SplitArchive(string(text))
	if err == nil {
		err = run.extract(files)
	}
	if err == nil {
		err = run.run(script)
	}
	var skip *skipError
	if errors.As(err, &skip) {
		t.Skipf("%s: %v", name, skip)
	}
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return &Repo{Name: name, VCS: run.handler, Dir: run.root, t: t, env: run.environ()}
}

// Handler serves a repository below a path, such as "/git/hello": git ones with
// git's smart protocol, all others as the files that they are.
func (r *Repo) Handler(prefix string) http.Handler {
	if r.VCS == "git" {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			modtest.ServeGit(r.t, w, req, strings.TrimPrefix(req.URL.Path, prefix), r.Dir, r.Name)
		})
	}
	return http.StripPrefix(prefix, http.FileServer(http.Dir(r.Dir)))
}

// Env is the environment that the script had at its end.
func (r *Repo) Env() []string { return r.env }

// Run runs a program of the version control system in the repository's folder
// and returns what it prints.
func (r *Repo) Run(program string, args ...string) string {
	r.t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Env = r.Dir, r.env
	out, err := cmd.Output()
	if err != nil {
		r.t.Fatalf("%s: %s %q: %v", r.Name, program, args, err)
	}
	return string(out)
}

// holds says whether a condition of a script is met.
func holds(condition string) bool {
	kind, value, _ := strings.Cut(condition, ":")
	switch kind {
	case "GOOS":
		return value == runtime.GOOS
	case "git-sha256":
		return true // for many years now
	}
	_, err := exec.LookPath(kind)
	return err == nil
}
