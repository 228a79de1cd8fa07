package e2e_test

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modtest"
)

// journals lists the journals of fills in the folder of a server.
func (n *server) journals() []string {
	n.t.Helper()
	files, err := filepath.Glob(filepath.Join(n.dir, ".fills", "*"))
	require.NoError(n.t, err)
	return files
}

// has reports whether a file of a version lies in the folder of a server.
func (n *server) has(v *modtest.Version, ext string) bool {
	n.t.Helper()
	return fileExists(n.t, filepath.Join(n.dir, filepath.FromSlash(v.Path), "@v", v.Version.Version+"."+ext))
}

// publicVersion is one that an upstream has.
func publicVersion(t *testing.T, version string) *modtest.Version {
	return modtest.NewVersion(t, "up.test/m", version, map[string]string{"go.mod": "module up.test/m\n", "m.go": "package m // " + version + "\n"})
}

// fillNames returns the versions in a list of fills.
func fillNames(entries []fill.Entry) []string {
	all := []string{}
	for _, e := range entries {
		all = append(all, e.Path+"@"+e.Version)
	}
	return all
}

// TestFillsSurviveRestart kills or stops a proxy that has sent a go command on.
// After the next start it waits as long as it would have, and fills, although
// nobody asks; and once it holds a version it asks for it no more.
func TestFillsSurviveRestart(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"killed", "stopped"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			v := publicVersion(t, "v1.0.0")
			up := modtest.NewGoProxy(t, v)
			net := modtest.NewInternet(t)
			proxy := startServer(t, net, "proxy", "proxy", "-upstream", up.URL, "-fill-after", "10s", "-private", "")
			end := func() {
				if how == "killed" {
					proxy.Kill()
				} else {
					proxy.Stop()
				}
			}
			client := modtest.NewGo(t, net)
			client.Set("GOPROXY="+proxy.URL, "GONOPROXY=none", "GOPRIVATE=")
			require.Empty(t, client.Download("up.test/m@v1.0.0")[0].Error)
			pending := proxy.fills().Pending
			require.Equal(t, []string{"up.test/m@v1.0.0"}, fillNames(pending))
			asked := up.Count("*.zip")

			end()
			if how == "stopped" {
				assert.Contains(t, proxy.Log(), "pending fills will run after the next start")
			}
			proxy.restart()
			assert.Equal(t, pending, proxy.fills().Pending, "it waits on")
			assert.Equal(t, []string{"up.test/m@v1.0.0"}, fillNames(proxy.settle().Done))
			assert.True(t, proxy.has(v, "zip"))
			assert.Equal(t, asked+1, up.Count("*.zip"))
			total := up.Count("")

			end()
			proxy.restart()
			assert.Empty(t, proxy.settle().Done, "nothing is done again")
			assert.Equal(t, total, up.Count(""))
			proxy.Stop()
			assert.Empty(t, proxy.journals(), "nothing is left to do")
		})
	}
}

// TestFillsOfTheDead kills one of two proxies on one folder. The next that starts
// there takes over its fills, and lets those of the living be.
func TestFillsOfTheDead(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t)
	of := map[string]*modtest.Version{"dead": publicVersion(t, "v1.0.0"), "living": publicVersion(t, "v1.1.0")}
	up := modtest.NewGoProxy(t, of["dead"], of["living"])
	dir := t.TempDir()
	start := func(name string) *server {
		n := newServer(t, net, "proxy", name, "-upstream", up.URL, "-fill-after", "1h", "-private", "")
		n.dir = dir
		n.start("127.0.0.1:0")
		return n
	}
	servers := map[string]*server{}
	for name, v := range of {
		servers[name] = start(name)
		status, _ := modtest.Get(t, servers[name].URL+"/up.test/m/@v/"+v.Version.Version+".zip")
		require.Equal(t, http.StatusFound, status)
	}
	servers["dead"].Kill()
	successor := start("successor")
	assert.Equal(t, []string{"up.test/m@v1.0.0"}, fillNames(successor.fills().Pending))
	assert.Equal(t, []string{"up.test/m@v1.1.0"}, fillNames(servers["living"].fills().Pending))
	assert.Len(t, successor.journals(), 2)
}

// TestFillsSurviveKills kills servers at random instants while clients ask them,
// starts them again on the same folder, and asks for nothing: what a proxy has
// sent a client on for is held in the end, and what a registry holds is whole.
func TestFillsSurviveKills(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t)
	tagged := addTaggedRepo(t, net)
	var public []*modtest.Version
	for i := range tagged {
		public = append(public, publicVersion(t, fmt.Sprintf("v1.%d.0", i)))
	}
	up := modtest.NewGoProxy(t, public...)
	t.Run("proxy", func(t *testing.T) {
		t.Parallel()
		surviveKills(t, net, public, func(n *server, answered func(file string) bool) (undone []string) {
			for _, v := range public {
				for _, ext := range []string{"mod", "zip"} {
					if answered(v.Version.Version+"."+ext) && !n.has(v, ext) {
						undone = append(undone, v.Version.Version+"."+ext)
					}
				}
			}
			return undone
		}, "proxy", "-upstream", up.URL, "-fill-after", "0", "-private", "")
	})
	t.Run("registry", func(t *testing.T) {
		t.Parallel()
		surviveKills(t, net, tagged, func(n *server, answered func(file string) bool) (undone []string) {
			for _, v := range tagged {
				if (answered(v.Version.Version+".mod") || n.has(v, "mod")) && !n.has(v, "zip") {
					undone = append(undone, v.Version.Version)
				}
			}
			return undone
		}, "registry")
	})
}

// surviveKills kills a server again and again, each time in the midst of clients.
// undone lists what it still owes, by what it has answered before it was killed.
func surviveKills(t *testing.T, net *modtest.Internet, versions []*modtest.Version, undone func(*server, func(string) bool) []string, kind string, args ...string) {
	random := modtest.Rand(t)
	until := time.Now().Add(time.Duration(modtest.Soak(1, 120)) * killingTime) // bounds the test on a slow machine
	n := startServer(t, net, kind, kind, args...)
	kills := modtest.Soak(10, 500)
	if fullRun() {
		kills = max(kills, 25)
	}
	killed, owed := 0, 0
	enough := func() bool { return killed >= kills || killed >= 3 && !time.Now().Before(until) }
	// A kill that comes after all fills are done shows nothing.
	for ; !enough() || owed == 0 && killed < 10*kills; killed++ {
		var files []string
		for _, v := range versions {
			ext := "mod"
			if kind == "proxy" && random.IntN(2) == 0 {
				ext = "zip"
			}
			files = append(files, v.Version.Version+"."+ext)
		}
		answers := n.killAmidFiles(versions[0].Path, files, random.IntN(len(files)), time.Duration(random.Int64N(int64(2*time.Millisecond))))
		answered := func(file string) bool { return answers[file] }
		// On a machine so busy that its journal is written late, answers do not wait for it,
		// and the server says so: it owes nothing then.
		late := strings.Contains(n.Log(), "scheduling fills is slow") || strings.Contains(n.Log(), "a kill may lose fills")
		if !late {
			owed += len(undone(n, answered))
		}
		n.restart()
		n.settle()
		if !late {
			require.Empty(t, undone(n, answered), "owed by the server before, and forgotten")
		}
		n.Stop()
		require.Empty(t, n.journals())
		n.dir = t.TempDir()
		n.restart()
	}
	t.Logf("%d kills left %d fills to do", killed, owed)
	assert.NotZero(t, owed, "no kill came before the fills were done")
}

// killAmidFiles asks a server for files of a module, all at once, kills it a
// moment after some were answered, and returns which were, then or later.
func (n *server) killAmidFiles(path string, files []string, some int, moment time.Duration) map[string]bool {
	answers := make(chan string)
	for _, file := range files {
		go func() {
			req, err := http.NewRequest(http.MethodGet, n.URL+"/"+path+"/@v/"+file, nil)
			if err != nil {
				answers <- ""
				return
			}
			resp, err := http.DefaultTransport.RoundTrip(req)
			if err == nil {
				_, err = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			if err != nil || resp.StatusCode != http.StatusFound && resp.StatusCode != http.StatusOK {
				file = ""
			}
			answers <- file
		}()
	}
	answered := map[string]bool{}
	for i := range files {
		if i == some {
			<-time.After(moment)
			n.Kill()
		}
		answered[<-answers] = true
	}
	return answered
}
