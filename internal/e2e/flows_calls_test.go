package e2e_test

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// newCalls returns the calls since the last step as they go into a transcript:
// sorted by what they are about, with all that git's protocol takes for one
// repository as one call, beside the first request for it. What the fills of
// a slow proxy ask for belongs to the step in which they run.
func (f *flow) newCalls() []call {
	calls := f.journal.untold(func(c call) bool { return f.slow[c.From] != nil && c.To == "registry" && isFile(c.Path) })
	if c := f.clients[f.actor()]; c != nil && c.pasted != nil {
		calls = append(f.logged(c.pasted), calls...)
	}
	vcs := map[call]bool{} // who asked for which repository
	var asked []call
	for _, c := range followersOnce(calls) {
		switch {
		case c.To == "vcs" && f.led(c): // the server tells of it
		case strings.HasSuffix(c.Path, "?go-get=1") && slices.Contains(asked, c): // go commands ask twice, or not
		case c.To != "vcs":
			asked = append(asked, c)
		case c.Path != "": // not an attempt by https, which this internet refuses
			c.Status = "200"
			vcs[c] = true
		}
	}
	var told []call
	for _, c := range ordered(asked) {
		told = append(told, c)
		module, _, _ := strings.Cut(c.version(), "@")
		if why := (call{From: c.To, To: "vcs", Path: module, Status: "200"}); vcs[why] {
			delete(vcs, why)
			told = append(told, why)
		}
		for why := range vcs {
			if c.Path == "refresh" && why.From == c.To { // which the body says for what
				delete(vcs, why)
				told = append(told, why)
			}
		}
	}
	require.Empty(f.t, vcs, "version control was asked for what nobody asked for")
	return told
}

// followersOnce leaves out how a follower reads the log and the events, which it does again and again,
// and what it asks a second time: the fill of a version and a client may want it at once.
func followersOnce(calls []call) []call {
	seen := map[call]bool{}
	return slices.DeleteFunc(slices.Clone(calls), func(c call) bool {
		if c.Path == "events" {
			return true
		}
		if c.From != "follower" || c.To != "registry" {
			return false
		}
		log := strings.HasSuffix(c.Path, "/latest") || strings.Contains(c.Path, "/tile/")
		again := seen[c]
		seen[c] = true
		return log || again
	})
}

// isFile reports whether a path of the protocol is a file of a version.
func isFile(path string) bool {
	return strings.Contains(path, "/@v/") && !strings.HasSuffix(path, "/list")
}

// totals counts calls by who was called.
func (f *flow) totals(calls []call) string {
	var counts []string
	for _, name := range []string{"proxy", "proxy2", "registry", "follower", "vcs"} {
		if _, started := f.servers[name]; !started && name != "vcs" {
			continue
		}
		n := 0
		for _, c := range calls {
			if c.To == name {
				n++
			}
		}
		counts = append(counts, fmt.Sprintf("%s %d", name, n))
	}
	return strings.Join(counts, ", ")
}

// requestLine is a server's log line of a request about a version or module.
var requestLine = regexp.MustCompile(`msg=request module=(\S+) (?:version=(\S+) )?file=(\S+) .*status=(\d+)`)

// logged returns the calls that a server has logged since the last step.
func (f *flow) logged(n *server) []call {
	log := n.Log()
	var calls []call
	for _, line := range requestLine.FindAllStringSubmatch(log[n.log:], -1) {
		path := line[1] + "/@v/list"
		switch {
		case line[3] == "latest":
			path = line[1] + "/@latest"
		case line[3] == "query":
			path = line[1] + "/@v/" + line[2] + ".info"
		case line[3] != "list":
			path = line[1] + "/@v/" + line[2] + "." + line[3]
		}
		calls = append(calls, call{From: f.actor(), To: "proxy", Path: path, Status: line[4]})
	}
	n.log = len(log)
	return calls
}
