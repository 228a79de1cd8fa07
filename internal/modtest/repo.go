package modtest

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// maxGitRequest bounds what a client of a repository may send, in bytes.
const maxGitRequest = 64 << 20

// Repo is a git repository made from a script, for an [Internet] to serve. The
// script fixes authors and dates, so that commit hashes, pseudo-versions and
// module hashes are the same each time. NewRepo explains the language.
type Repo struct {
	Path    string   // host/path where it is served, such as "git.test/simple"
	Purpose string   // what it is for: the script's first line
	Offers  []string // what a go command can download of it, as path@query

	t    testing.TB
	name string
	text string // of all scripts
	work string // where commits are made
	bare string // what is served: the result of the last whole script
	home string

	mu       sync.Mutex
	declared []goImport
	silent   bool // no go-import page
	gone     bool

	date     time.Time // of the last commit or tag
	authored time.Time // of the next commit, if not zero
	head     string
}

// goImport is what a go-import page says of this repository.
type goImport struct{ prefix, subdir string }

// Dir returns the folder of the bare repository that is served.
func (r *Repo) Dir() string { return r.bare }

// State returns a text that is the same for repositories which are the same: the
// scripts that made it, and what a test may have changed of it by hand.
func (r *Repo) State() string {
	var b strings.Builder
	b.WriteString(r.text)
	for _, name := range []string{"HEAD", "shallow"} {
		data, err := os.ReadFile(filepath.Join(r.bare, name))
		fmt.Fprintf(&b, "%s: %s, %t\n", name, data, err == nil)
	}
	return b.String()
}

// Hash returns the commit that a revision means, as it is served now.
func (r *Repo) Hash(revision string) string {
	r.t.Helper()
	out, err := r.git(r.bare, "rev-parse", "--verify", revision+"^{commit}")
	if err != nil {
		r.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// Delete makes the repository and its pages vanish: they are answered with 404
// until [Repo.Restore].
func (r *Repo) Delete() { r.setGone(true) }

// Restore undoes [Repo.Delete].
func (r *Repo) Restore() { r.setGone(false) }

func (r *Repo) setGone(gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gone = gone
}

// imports returns the content of go-import pages: what the script declares, otherwise that
// the module path is the path of the repository.
func (r *Repo) imports() []goImport {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.gone || r.silent:
		return nil
	case len(r.declared) > 0:
		return r.declared
	}
	return []goImport{{prefix: r.Path}}
}

// git runs git in dir with nothing of the machine's or user's configuration.
func (r *Repo) git(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	author := r.authored
	if author.IsZero() {
		author = r.date
	}
	cmd.Env = append(gitEnv(r.home),
		"GIT_AUTHOR_NAME=Ada Author", "GIT_AUTHOR_EMAIL=ada@corp.test", "GIT_AUTHOR_DATE="+gitDate(author),
		"GIT_COMMITTER_NAME=Carl Committer", "GIT_COMMITTER_EMAIL=carl@corp.test", "GIT_COMMITTER_DATE="+gitDate(r.date),
		// No background work: it would outlive the test. No conversions.
		"GIT_CONFIG_COUNT=6",
		"GIT_CONFIG_KEY_0=gc.auto", "GIT_CONFIG_VALUE_0=0",
		"GIT_CONFIG_KEY_1=maintenance.auto", "GIT_CONFIG_VALUE_1=false",
		"GIT_CONFIG_KEY_2=receive.autogc", "GIT_CONFIG_VALUE_2=false",
		"GIT_CONFIG_KEY_3=core.autocrlf", "GIT_CONFIG_VALUE_3=false",
		"GIT_CONFIG_KEY_4=advice.detachedHead", "GIT_CONFIG_VALUE_4=false",
		"GIT_CONFIG_KEY_5=core.safecrlf", "GIT_CONFIG_VALUE_5=false",
	)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, stderr.String())
	}
	return stdout.String(), nil
}

// gitEnv is the environment of a git that sees nothing of the machine's or
// user's configuration and never asks anything.
func gitEnv(home string) []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
	}
}

// gitDate writes a date as git stores it, with its offset from UTC.
func gitDate(t time.Time) string { return fmt.Sprintf("@%d %s", t.Unix(), t.Format("-0700")) }

// backend finds git's CGI program.
var backend = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("git", "--exec-path").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "git-http-backend"), err
})

// isGit reports whether rest, what follows a repository's path in a URL, is
// something that git asks for.
func isGit(rest string) bool {
	switch rest {
	case "/info/refs", "/git-upload-pack", "/git-receive-pack", "/HEAD":
		return true
	}
	return strings.HasPrefix(rest, "/objects/")
}

// serveGit lets git answer a request for rest below the repository's URL.
func (r *Repo) serveGit(w http.ResponseWriter, req *http.Request, rest string) {
	r.mu.Lock()
	gone := r.gone
	r.mu.Unlock()
	if gone {
		http.Error(w, "modtest: repository not found", http.StatusNotFound)
		return
	}
	serveBackend(w, req, rest, r.bare, r.home, r.t.Output(), r.Path)
}

// ServeGit answers a request for rest, what follows a repository's path in a
// URL, from the git repository in dir. Its programs see none of the user's
// configuration; what they say goes to the test's log under name.
func ServeGit(t testing.TB, w http.ResponseWriter, req *http.Request, rest, dir, name string) {
	if !isGit(rest) {
		http.NotFound(w, req)
		return
	}
	serveBackend(w, req, rest, dir, dir, t.Output(), name)
}

func serveBackend(w http.ResponseWriter, req *http.Request, rest, dir, home string, stderr io.Writer, name string) {
	program, err := backend()
	if err != nil {
		http.Error(w, "modtest: no git http-backend: "+err.Error(), http.StatusInternalServerError)
		return
	}
	// CGI has no chunked requests, so the body is read first.
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxGitRequest))
	if err != nil {
		http.Error(w, "modtest: "+err.Error(), http.StatusBadRequest)
		return
	}
	req = req.Clone(req.Context())
	req.URL.Path, req.URL.RawPath = rest, ""
	req.Body, req.ContentLength, req.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	h := &cgi.Handler{
		Path: program, Root: "/", Dir: dir,
		Env: append(gitEnv(home),
			"GIT_PROJECT_ROOT="+dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_PROTOCOL="+req.Header.Get("Git-Protocol")),
		Logger: log.New(stderr, name+": ", 0), Stderr: stderr,
	}
	serveOnce(w, req, dir, body, h)
}
