package gocmd_test

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/internal/modtest"
)

// system is a version control system with a repository of it: a module with a
// go.mod, one in the folder sub, and two tags where the system has tags.
type system struct {
	tool  string   // the program that the go command needs
	needs []string // the programs that the test needs beside it
	// build makes the repository below dir and serves it: it returns the URL
	// for the go-import page, and how to bring the server down for good.
	build func(t *testing.T, w *workshop) (url string, down func())
	// asks are queries of corp.test/m that both have to answer alike.
	asks []string
	// versions are what the go command lists.
	versions []string
	// fixed says that the repository is the same each time, dates included, so that what
	// the go command says of it is recorded: it starts the tool dozens of times for each.
	fixed bool
}

var systems = []system{
	{
		tool: "hg", build: buildHg,
		asks:     []string{"v1.0.0"},
		versions: []string{"v1.0.0", "v1.1.0-rc.1"},
		fixed:    true,
	},
	{
		tool: "svn", needs: []string{"svnadmin", "svnserve"}, build: buildSvn,
		// There are no tags that one could download, only folders.
		asks: []string{"latest", "HEAD", "2", "000000000001", "v1.0.0"},
	},
	{
		tool: "fossil", build: buildFossil,
		asks: []string{"latest", "trunk", "v1.0.0"},
	},
	{
		tool: "bzr", build: buildBzr,
		asks:     []string{"v1.0.0"},
		versions: []string{"v1.0.0", "v1.1.0-rc.1"},
		fixed:    true,
	},
}

func TestOtherSystems(t *testing.T) {
	for _, s := range systems {
		t.Run(s.tool, func(t *testing.T) {
			t.Parallel()
			for _, tool := range append([]string{s.tool}, s.needs...) {
				if _, err := exec.LookPath(tool); err != nil {
					t.Skipf("%s is not installed", tool)
				}
			}
			if testing.Short() && slices.Contains([]string{"hg", "bzr"}, s.tool) {
				t.Skip("-short leaves out what starts Python a hundred times: the code is that of svn and fossil")
			}
			w := newWorkshop(t)
			if s.fixed {
				w.preload(s.tool)
			}
			url, down := s.build(t, w)
			w.page("corp.test/m", s.tool+" "+url)
			allow := func(o *gocmd.Options) { o.Env, o.GOVCS = w.env, "*:all" }
			f := newFetcher(t, w.net, allow)
			w.Set("GOVCS=*:all")
			t.Run("same", func(t *testing.T) { w.same(t, s, f) })
			t.Run("missing", func(t *testing.T) { missing(t, f) })
			t.Run("forbidden", func(t *testing.T) { w.forbidden(t, s) })
			t.Run("no tool", func(t *testing.T) { w.withoutTool(t, s) })
			down()
			t.Run("down", func(t *testing.T) { unreachable(t, newFetcher(t, w.net, allow)) })
		})
	}
}

// same compares all answers with the go command's, which are recorded if the repository
// is the same each time.
func (w *workshop) same(t *testing.T, s system, f athens.Fetcher) {
	answer, list := w.answer, func(path string) modtest.Answer { return listed(t, w.direct(), path) }
	if s.fixed {
		rec := modtest.NewRecorded(t, "gocmd/"+s.tool, strings.Join(w.steps, "\n"))
		answer, list = recorded(rec, answer), recorded(rec, list)
	}
	versions := compareLists(t, list, f, "corp.test/m")
	if s.versions != nil {
		assert.Equal(t, s.versions, versions)
	}
	for _, query := range s.asks {
		compare(t, answer, f, "corp.test/m@"+query)
	}
	compare(t, answer, f, "corp.test/m/sub@latest")
}

// missing asks for what is definitely not there.
func missing(t *testing.T, f athens.Fetcher) {
	for _, ref := range []string{
		"corp.test/m@v9.9.9", "corp.test/m/nosuch@latest", "corp.test/nosuch@latest",
	} {
		path, query, _ := strings.Cut(ref, "@")
		_, err := f.Resolve(t.Context(), path, query)
		var missing *athens.MissingError
		assert.ErrorAs(t, err, &missing, ref)
	}
}

// forbidden asks without GOVCS, where the go command's own rule counts.
func (w *workshop) forbidden(t *testing.T, s system) {
	f := newFetcher(t, w.net, func(o *gocmd.Options) { o.Env = w.env })
	_, err := f.Resolve(t.Context(), "corp.test/m", "latest")
	if s.tool == "hg" {
		assert.NoError(t, err)
		return
	}
	var blocked *athens.BlockedError
	assert.ErrorAs(t, err, &blocked)
	assert.ErrorContains(t, err, "GOVCS disallows using "+s.tool)
	f = newFetcher(t, w.net, func(o *gocmd.Options) { o.Env, o.Private = w.env, "corp.test" })
	_, err = f.Resolve(t.Context(), "corp.test/m", "latest")
	assert.NoError(t, err, "all is allowed for private paths")
}

// withoutTool asks where the tool is not installed.
func (w *workshop) withoutTool(t *testing.T, s system) {
	bin := t.TempDir()
	for _, name := range []string{"go", "git"} {
		file, err := exec.LookPath(name)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(file, filepath.Join(bin, name)))
	}
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	require.NoError(t, err)
	f := newFetcher(t, w.net, func(o *gocmd.Options) {
		o.Go, o.GOVCS = filepath.Join(strings.TrimSpace(string(goroot)), "bin", "go"), "*:all"
		o.Env = append(append([]string{}, w.env...), "PATH="+bin)
	})
	var outage *athens.UnavailableError
	_, err = f.Resolve(t.Context(), "corp.test/m", "latest")
	assert.ErrorAs(t, err, &outage)
	assert.ErrorContains(t, err, s.tool+" is not installed on this server")
	_, err = f.Versions(t.Context(), "corp.test/m")
	assert.ErrorAs(t, err, &outage, "a list")
}

// unreachable asks for what is there while its server is not.
func unreachable(t *testing.T, f athens.Fetcher) {
	var outage *athens.UnavailableError
	for _, query := range []string{"latest", "nosuch"} {
		_, err := f.Resolve(t.Context(), "corp.test/m", query)
		assert.ErrorAs(t, err, &outage, query)
		assert.False(t, errors.As(err, new(*athens.MissingError)), query)
	}
	list, err := f.Versions(t.Context(), "corp.test/m")
	assert.ErrorAs(t, err, &outage, "%q", list)
	_, err = f.Fetch(t.Context(), module.Version{Path: "corp.test/m", Version: "v1.0.0"})
	assert.ErrorAs(t, err, &outage)
}

// workshop is where a repository is made and served.
type workshop struct {
	*modtest.Go
	t   *testing.T
	net *modtest.Internet
	dir string
	env []string // of a Fetcher

	programs map[string]string // what runs in place of tools, by their names
	tools    []string          // what is in env so that the go command starts it, too

	steps []string // what has made the repository

	hangUps []func()
}

func newWorkshop(t *testing.T) *workshop {
	n := modtest.NewInternet(t)
	g := modtest.NewGo(t, n)
	g.Set("EMAIL=ada@corp.test", "HGUSER=ada", "BRZ_EMAIL=ada@corp.test", "USER=ada", "LC_ALL=C.UTF-8")
	return &workshop{Go: g, t: t, net: n, dir: t.TempDir(), env: g.Env()}
}

// direct is another go command that knows nothing yet.
func (w *workshop) direct() *modtest.Go {
	g := modtest.NewGo(w.t, w.net)
	g.Set("USER=ada", "GOVCS=*:all", "LC_ALL=C.UTF-8")
	g.Set(w.tools...)
	return g
}

// answer is what such a go command says of a reference.
func (w *workshop) answer(ref string) modtest.Answer { return alone(w.direct, ref) }

// run runs a program in a folder of the workshop.
func (w *workshop) run(dir, program string, args ...string) {
	w.t.Helper()
	w.steps = append(w.steps, fmt.Sprintf("%s: %s %q", dir, program, args))
	cmd := exec.Command(cmp.Or(w.programs[program], program), args...)
	cmd.Dir, cmd.Env = filepath.Join(w.dir, dir), w.env
	out, err := cmd.CombinedOutput()
	require.NoError(w.t, err, "%s %q: %s", program, args, out)
}

// write writes a file of the workshop.
func (w *workshop) write(name, content string) {
	w.t.Helper()
	w.steps = append(w.steps, fmt.Sprintf("%s: %q", name, content))
	name = filepath.Join(w.dir, name)
	require.NoError(w.t, os.MkdirAll(filepath.Dir(name), 0o777))
	require.NoError(w.t, os.WriteFile(name, []byte(content), 0o666))
}

// files writes the files of a module and of the one below it.
func (w *workshop) files(dir string) {
	w.write(dir+"/go.mod", "module corp.test/m\n\ngo 1.20\n")
	w.write(dir+"/m.go", "package m\n")
	w.write(dir+"/LICENSE", "Do as you like.\n")
	w.write(dir+"/größe.txt", "three\r\nlines\nhere\n")
	w.write(dir+"/sub/go.mod", "module corp.test/m/sub\n")
	w.write(dir+"/sub/sub.go", "package sub // $Id$\n")
}

// page makes a go-import page for a path and all below it.
func (w *workshop) page(path, content string) {
	w.net.Handle(path, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(rw, `<meta name="go-import" content="%s %s">`, path, content)
	}))
}

func buildHg(t *testing.T, w *workshop) (string, func()) {
	w.run(".", "hg", "init", "repo")
	w.files("repo")
	w.run("repo", "hg", "commit", "-A", "-m", "Begin", "-d", "2021-01-01 10:00:00 +0000")
	w.run("repo", "hg", "tag", "v1.0.0", "-d", "2021-01-02 10:00:00 +0000")
	w.write("repo/more.go", "package m\n")
	w.run("repo", "hg", "commit", "-A", "-m", "More", "-d", "2021-01-03 10:00:00 +0000")
	w.run("repo", "hg", "tag", "v1.1.0-rc.1", "-d", "2021-01-04 10:00:00 +0000")
	w.run("repo", "hg", "branch", "stable")
	w.write("repo/stable.go", "package m\n")
	w.run("repo", "hg", "commit", "-A", "-m", "Stable", "-d", "2021-01-05 10:00:00 +0000")
	w.net.Handle("vcs.test", w.serveHg("repo"))
	return "http://vcs.test", func() { w.net.Break("vcs.test", modtest.Cut()) }
}

// serveHg serves the repository in a folder of the workshop by one process for all
// requests: each would otherwise start Python.
func (w *workshop) serveHg(dir string) http.Handler {
	cmd := exec.CommandContext(w.t.Context(), "hg", "serve", "-a", "127.0.0.1", "-p", "0", "-A", os.DevNull)
	cmd.Dir, cmd.Env, cmd.Stderr = filepath.Join(w.dir, dir), append([]string{"HGPLAIN=1", "PYTHONUNBUFFERED=1"}, w.env...), w.t.Output()
	out, err := cmd.StdoutPipe()
	require.NoError(w.t, err)
	require.NoError(w.t, cmd.Start())
	w.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	said := bufio.NewReader(out)
	line, err := said.ReadString('\n')
	require.NoError(w.t, err)
	found := regexp.MustCompile(`127\.0\.0\.1:[0-9]+`).FindString(line)
	require.NotEmpty(w.t, found, line)
	go func() { _, _ = io.Copy(io.Discard, said) }()
	return httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: found})
}

func buildSvn(t *testing.T, w *workshop) (string, func()) {
	w.files("trunk")
	require.NoError(t, os.Mkdir(filepath.Join(w.dir, "root"), 0o777))
	w.run(".", "svnadmin", "create", "root/repo")
	repo := "file://" + filepath.Join(w.dir, "root/repo")
	w.run(".", "svn", "import", "-q", "-m", "Begin", "trunk", repo+"/trunk")
	w.run(".", "svn", "checkout", "-q", repo+"/trunk", "work")
	w.write("work/more.go", "package m\n")
	w.run("work", "svn", "add", "-q", "more.go")
	w.run("work", "svn", "commit", "-q", "-m", "More")
	return "svn://" + w.inetd("svnserve", "-i", "-r", filepath.Join(w.dir, "root")) + "/repo/trunk", w.hangUp
}

// inetd serves each connection by a process of its own.
func (w *workshop) inetd(program string, args ...string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(w.t, err)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { w.converse(conn.(*net.TCPConn), program, args) })
		}
	})
	w.hangUps = append(w.hangUps, func() { l.Close() })
	w.t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

// hangUp lets no more connections in.
func (w *workshop) hangUp() {
	for _, h := range w.hangUps {
		h()
	}
}

func (w *workshop) converse(conn *net.TCPConn, program string, args []string) {
	defer conn.Close()
	file, err := conn.File()
	if err != nil {
		return
	}
	defer file.Close()
	cmd := exec.CommandContext(w.t.Context(), program, args...)
	cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = w.env, file, file, w.t.Output()
	_ = cmd.Run() // the other side hangs up as it likes
}

func buildFossil(t *testing.T, w *workshop) (string, func()) {
	repo := filepath.Join(w.dir, "m.fossil")
	w.run(".", "fossil", "init", "--date-override", "2021-01-01 09:00:00", repo)
	w.files("work")
	w.run("work", "fossil", "open", "--force", "--keep", repo)
	w.run("work", "fossil", "add", ".")
	w.run("work", "fossil", "commit", "--no-warnings", "-m", "Begin", "--date-override", "2021-01-01 10:00:00", "--tag", "v1.0.0")
	w.write("work/more.go", "package m\n")
	w.run("work", "fossil", "add", "more.go")
	w.run("work", "fossil", "commit", "--no-warnings", "-m", "More", "--date-override", "2021-01-02 10:00:00")
	w.run("work", "fossil", "close")
	program, err := exec.LookPath("fossil")
	require.NoError(t, err)
	w.write("serve", "#!"+program+"\nrepository: "+repo+"\n")
	w.net.Handle("vcs.test", &cgi.Handler{Path: program, Args: []string{filepath.Join(w.dir, "serve")}, Env: w.env, Stderr: t.Output()})
	return "http://vcs.test", func() { w.net.Break("vcs.test", modtest.Cut()) }
}

func buildBzr(_ *testing.T, w *workshop) (string, func()) {
	w.run(".", "bzr", "init", "-q", "repo")
	w.files("repo")
	w.run("repo", "bzr", "add", "-q")
	w.run("repo", "bzr", "commit", "-q", "-m", "Begin", "--commit-time", "2021-01-01 10:00:00 +0000")
	w.run("repo", "bzr", "tag", "-q", "v1.0.0")
	w.write("repo/more.go", "package m\n")
	w.run("repo", "bzr", "add", "-q")
	w.run("repo", "bzr", "commit", "-q", "-m", "More", "--commit-time", "2021-01-02 10:00:00 +0000")
	w.run("repo", "bzr", "tag", "-q", "v1.1.0-rc.1")
	// Bazaar's own protocol needs its server; any web server can do this.
	w.net.Handle("vcs.test", http.FileServer(http.Dir(filepath.Join(w.dir, "repo"))))
	return "http://vcs.test", func() { w.net.Break("vcs.test", modtest.Cut()) }
}
