package e2e_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

var update = flag.Bool("update", false, "rewrite the transcripts of testdata/flows, and docs/flows.md")

// flowNames are the flows in the order of docs/flows.md.
var flowNames = []string{"clean-plate", "new-proxy", "happy-path", "private", "disabled", "source-of-truth", "follow", "fail-over", "publish", "direct", "refresh", "removal", "news"}

func flowFile(name string) string { return filepath.Join("testdata", "flows", name+".txt") }

// TestFlows runs each script of testdata/flows: real servers, repositories and
// go commands, all fresh. Who called whom must be what the file's transcript
// says.
func TestFlows(t *testing.T) {
	t.Parallel()
	for _, name := range flowNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := readFlow(t, name)
			f := newFlow(t)
			for line := range strings.Lines(file.script) {
				if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
					f.step(line)
				}
			}
			got := f.transcript.String()
			if *update {
				require.NoError(t, os.WriteFile(flowFile(name), []byte(file.text+scriptMark+file.script+transcriptMark+got), 0o666))
				return
			}
			require.Equal(t, file.transcript, got, "who called whom; -update rewrites %s", flowFile(name))
		})
	}
}

// flowParts are the parts of a file of testdata/flows: a title with an
// explanation, the script, and what it has to lead to.
type flowParts struct{ text, script, transcript string }

const scriptMark, transcriptMark = "-- script --\n", "-- transcript --\n"

func readFlow(t testing.TB, name string) flowParts {
	t.Helper()
	b, err := os.ReadFile(flowFile(name))
	require.NoError(t, err)
	text, rest, ok := strings.Cut(string(b), scriptMark)
	script, transcript, both := strings.Cut(rest, transcriptMark)
	require.True(t, ok && both, "%s has no script or transcript", flowFile(name))
	return flowParts{text, script, transcript}
}

// flow is a script that runs.
type flow struct {
	t          testing.TB
	net        *modtest.Internet
	journal    journal
	transcript strings.Builder

	servers   map[string]*server
	recorders map[string]*recordingProxy // by server; a registry behind a proxy has one more
	slow      map[string]func()
	clients   map[string]*client
	key       string // the file of the registry's ledger
	repos     map[string]*modtest.Repo
	secrets   map[string]string // tokens, by name
	hosts     []string          // names of hosts that lead to a server
	current   atomic.Value      // the name of the client whose step it is
}

// client is a developer's machine.
type client struct {
	*modtest.Go
	pasted *server // the server whose first line it pasted, if it did
}

func newFlow(t testing.TB) *flow {
	repos := modtest.Ready(t, "simple", "private", "graph-app", "graph-lib", "graph-old", "graph-base")
	f := &flow{
		t: t, net: modtest.NewInternet(t, repos...), repos: map[string]*modtest.Repo{}, secrets: map[string]string{},
		servers: map[string]*server{}, recorders: map[string]*recordingProxy{}, slow: map[string]func(){}, clients: map[string]*client{},
	}
	for _, r := range repos {
		f.repos[r.Path] = r
	}
	f.current.Store("")
	f.net.Break("", f.journal.watch("vcs", func(r *http.Request) string {
		if user, _, ok := proxyLogin(r); ok {
			return user
		}
		return f.actor()
	}))
	return f
}

// actor returns the name of the client whose step it is; servers ask, too.
func (f *flow) actor() string { return f.current.Load().(string) }

// proxyLogin returns the login with which a request came through a proxy.
func proxyLogin(r *http.Request) (user, password string, ok bool) {
	as := &http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}
	return as.BasicAuth()
}

// steps are the sentences of a script. What a sentence returns is written to the
// transcript, after the calls that were made meanwhile.
var steps = []struct {
	sentence *regexp.Regexp
	run      func(f *flow, word []string) []string
}{
	{regexp.MustCompile(`^(registry|proxy\w*) starts empty(?:, with (.+))?$`), (*flow).start},
	{regexp.MustCompile(`^(follower) starts empty, follows registry and gets (\S+)$`), (*flow).startFollower},
	{regexp.MustCompile(`^(registry) is killed$`), (*flow).kill},
	{regexp.MustCompile(`^(follower) takes over with the key of registry$`), (*flow).takeOver},
	{regexp.MustCompile(`^(\w+) pastes what (\w+) prints$`), (*flow).paste},
	{regexp.MustCompile(`^(\w+) downloads (\S+)(?: through (\w+))?$`), (*flow).download},
	{regexp.MustCompile(`^(\w+) lists (\S+)(?: through (\w+))?$`), (*flow).list},
	{regexp.MustCompile(`^(\w+) builds a program on (\S+) and (\S+) through (\w+)$`), (*flow).build},
	{regexp.MustCompile(`^the fills of (\w+) run$`), (*flow).runFills},
	{regexp.MustCompile(`^(registry|vcs|proxy\w*) was called (\d+) times?$`), (*flow).called},
	{regexp.MustCompile(`^(\S+) was fetched from vcs (\d+) times?$`), (*flow).fetched},
	{regexp.MustCompile(`^the store of (registry) gets another zip of (\S+)@(\S+)$`), (*flow).replaceZip},
	{regexp.MustCompile(`^(\w+) is refused (\S+) through (\w+) with (.+)$`), (*flow).refused},
	{regexp.MustCompile(`^(ci) publishes (\S+)@(\S+) to (registry)$`), (*flow).publish},
	{regexp.MustCompile(`^operator (removes|hides|restores) (\S+)@(\S+) at (registry)(?: because it (.+))?$`), (*flow).takeBack},
	{regexp.MustCompile(`^ci tells (registry) to refresh (\S+)@(\S+)$`), (*flow).refresh},
	{regexp.MustCompile(`^(proxy|follower) hears that (\S+)@(\S+) is (refreshed|removed|hidden|restored)$`), (*flow).hears},
	{regexp.MustCompile(`^webhook tells (registry) of (\S+)@(\S+)$`), (*flow).pushEvent},
	{regexp.MustCompile(`^the repository (\S+) gets the tag (\S+)$`), (*flow).tag},
	{regexp.MustCompile(`^(\S+) leads to (registry)$`), (*flow).leads},
	{regexp.MustCompile(`^(\w+) gets (\S+) without a proxy$`), (*flow).direct},
	{regexp.MustCompile(`^(registry) finds no (\S+) by asking itself$`), (*flow).missing},
	{regexp.MustCompile(`^(registry) never heard of (\S+)$`), (*flow).neverHeard},
}

// step runs one sentence.
func (f *flow) step(line string) {
	f.t.Helper()
	for _, s := range steps {
		word := s.sentence.FindStringSubmatch(line)
		if word == nil {
			continue
		}
		results := s.run(f, word)
		fmt.Fprintln(&f.transcript, line)
		calls := f.newCalls()
		for _, c := range calls {
			fmt.Fprintf(&f.transcript, "    %-8s → %-8s  %s  %s\n", c.From, c.To, c.Path, c.Status)
		}
		if _, acts := f.clients[word[1]]; acts && len(word) > 3 {
			fmt.Fprintf(&f.transcript, "    calls: %s\n", f.totals(calls))
		}
		for _, r := range results {
			fmt.Fprintf(&f.transcript, "    %s\n", r)
		}
		return
	}
	f.t.Fatalf("no step is called %q", line)
}

// start starts a server in a fresh folder. Each server whose upstream is the registry
// reaches it through a recording proxy of its own, so that it is known who calls.
func (f *flow) start(word []string) []string {
	f.t.Helper()
	name, args := word[1], strings.Fields(word[2])
	for i, arg := range args {
		if arg == "registry" {
			args[i] = f.open("registry", name).URL
			f.slow[name] = f.hold(f.recorders["registry "+name])
		}
	}
	f.credentials(args)
	kind := strings.TrimRight(name, "0123456789")
	f.servers[name] = startServer(f.t, f.net, kind, name, args...)
	if name == "registry" {
		f.key = f.servers[name].dir + ".ledger.key" // if it has a ledger
	}
	if release := f.slow[name]; release != nil {
		f.t.Cleanup(release) // before the server is stopped: its fills may have begun
	}
	f.open(name, "")
	return nil
}

// open opens a recording proxy before a server.
func (f *flow) open(name, neighbour string) *recordingProxy {
	f.t.Helper()
	require.Contains(f.t, f.servers, name, "not started")
	d := newRecordingProxy(f.t, f.servers[name].URL)
	f.recorders[strings.TrimSpace(name+" "+neighbour)] = d
	d.Break("", f.journal.watch(name, func(r *http.Request) string {
		if neighbour == "follower" || neighbour != "" && r.Header.Get("Via") != "" {
			return neighbour
		}
		return f.actor()
	}))
	return d
}

// hold holds the fills of a proxy at its recording proxy before the registry, as a slow line would,
// until the returned function is called: so a transcript does not depend on how
// long a client takes.
func (f *flow) hold(d *recordingProxy) func() {
	release := make(chan struct{})
	d.Break("*", modtest.Only(func(r *http.Request) bool {
		return r.Header.Get("Via") != "" && isFile(r.URL.Path)
	}, modtest.Hang(release)))
	return sync.OnceFunc(func() { close(release) })
}

// client returns the machine of somebody, with an empty module cache at first.
func (f *flow) client(name, through string) *client {
	f.t.Helper()
	c, ok := f.clients[name]
	if !ok {
		c = &client{Go: modtest.NewGo(f.t, f.net)}
		f.clients[name] = c
	}
	if through != "" {
		require.Contains(f.t, f.servers, through, "not started")
		c.Set(f.servers[through].Env...)
		c.Set("GOPROXY=" + f.recorders[through].URL)
	}
	f.current.Store(name)
	return c
}

// paste gives a client exactly the environment that a server's first line
// exports. Its calls go to the server itself then, past its recording proxy, so that
// they are read in the server's log.
func (f *flow) paste(word []string) []string {
	f.t.Helper()
	c := f.client(word[1], "")
	c.pasted = f.servers[word[2]]
	c.Set(c.pasted.Env...)
	return nil
}

// await waits until the server whose log tells of a client's calls has written
// the last of them: it answers first.
func (c *client) await(line string) {
	if c.pasted != nil {
		last := regexp.MustCompile(line)
		modtest.Eventually(c.pasted.t, "the log says "+line, func() bool { return last.MatchString(c.pasted.Log()[c.pasted.log:]) })
	}
}

func (f *flow) download(word []string) []string {
	f.t.Helper()
	c := f.client(word[1], word[3])
	d := c.MustDownload(word[2])
	c.await("module=" + regexp.QuoteMeta(d.Path+" version="+d.Version+" file=zip"))
	f.drain()
	return []string{fmt.Sprintf("%s has %s@%s %s", word[1], d.Path, d.Version, d.Sum)}
}

func (f *flow) list(word []string) []string {
	f.t.Helper()
	c := f.client(word[1], word[3])
	stdout, stderr, err := c.Run("list", "-m", "-versions", word[2])
	require.NoError(f.t, err, stderr)
	c.await("module=" + word[2] + ` version=\S+ file=mod`) // which says what is retracted
	return []string{word[1] + " sees " + strings.TrimSpace(stdout)}
}

// build builds and runs a program that imports two modules of one build graph.
func (f *flow) build(word []string) []string {
	f.t.Helper()
	c := f.client(word[1], word[4])
	lib, libVersion, _ := strings.Cut(word[2], "@")
	old, oldVersion, _ := strings.Cut(word[3], "@")
	c.Write("go.mod", fmt.Sprintf("module program\n\ngo 1.21\n\nrequire (\n\t%s %s\n\t%s %s\n)\n", lib, libVersion, old, oldVersion))
	c.Write("main.go", fmt.Sprintf("package main\n\nimport (\n\t%q\n\t%q\n)\n\nfunc main() { println(lib.Text + \", \" + old.Text) }\n", lib, old))
	stdout, stderr, err := c.Run("build", "-mod=mod", "-o", "program", ".")
	require.NoError(f.t, err, stdout+stderr)
	out, err := exec.CommandContext(f.t.Context(), filepath.Join(c.Dir, "program")).CombinedOutput()
	require.NoError(f.t, err)
	f.drain()
	return []string{"the program says: " + strings.TrimSpace(string(out))}
}

// drain waits for what servers owe themselves: it belongs to the step that
// caused it.
func (f *flow) drain() {
	f.t.Helper()
	for name, s := range f.servers {
		if f.slow[name] == nil {
			s.settle()
		}
	}
}

// runFills lets the fills of a proxy run, and returns what /fills says of them.
func (f *flow) runFills(word []string) []string {
	f.t.Helper()
	f.slow[word[1]]()
	var filled []string
	delete(f.slow, word[1])
	status := f.servers[word[1]].settle()
	require.Empty(f.t, status.Failed)
	for _, e := range status.Done {
		with := ""
		if e.Zip {
			with = ", with its zip"
		}
		filled = append(filled, fmt.Sprintf("/fills: done %s@%s%s", e.Path, e.Version, with))
	}
	slices.Sort(filled)
	return filled
}

// called checks how often a server was called since the script began.
func (f *flow) called(word []string) []string {
	f.t.Helper()
	n := f.journal.count(func(c call) bool { return c.To == word[1] })
	require.Equal(f.t, word[2], strconv.Itoa(n), "calls of %s", word[1])
	return nil
}

// fetched checks how often the commits and files of a repository were fetched.
func (f *flow) fetched(word []string) []string {
	f.t.Helper()
	require.Equal(f.t, word[2], strconv.Itoa(f.net.Packs(word[1])), "packs of %s", word[1])
	return nil
}

// neverHeard checks every byte that the registry received.
func (f *flow) neverHeard(word []string) []string {
	f.t.Helper()
	for name, d := range f.recorders {
		if strings.HasPrefix(name, word[1]) {
			require.False(f.t, d.heard(word[2]), "%s received %q", name, word[2])
		}
	}
	return nil
}
