package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
)

// TestFlowsDocs holds docs/flows.md to the transcripts that [TestFlows] holds to
// what really happens.
func TestFlowsDocs(t *testing.T) {
	file := filepath.Join(modtest.RootDir(t), "docs", "flows.md")
	got := flowsDoc(t)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(got), 0o666))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "%s is not what testdata/flows says; -update rewrites it", file)
}

const flowsHead = `<!-- Made from testdata/flows by "go test -run TestFlows -update ./internal/e2e" -->

# The flows

This page shows who calls whom in each flow that Athens is made for. The transcripts are from real
runs: the registry and the proxies are the programs in [examples](../examples), the clients are go
commands with empty module caches, and version control is git over HTTP. The tests run the flows
again and compare each call. The pictures show calls for the files of one version as one arrow.
The last flow is one without a network; its transcript has the commands and what they print.
`

func flowsDoc(t testing.TB) string {
	doc := &strings.Builder{}
	doc.WriteString(flowsHead)
	for _, name := range append(slices.Clip(flowNames), "carried") {
		file := readFlow(t, name)
		title, text, _ := strings.Cut(strings.TrimSpace(file.text), "\n")
		fmt.Fprintf(doc, "\n## %s\n\n%s\n", title, strings.TrimSpace(text))
		if file.script != "" {
			fmt.Fprintf(doc, "\n```mermaid\n%s```\n", diagram(file.transcript))
		}
		fmt.Fprintf(doc, "\n<details><summary>Transcript</summary>\n\n```text\n%s```\n\n</details>\n", file.transcript)
	}
	return doc.String()
}

// scene is a step of a transcript, read back.
type scene struct {
	sentence string
	calls    []call
	results  []string
}

var (
	callLine   = regexp.MustCompile(`^    (\w+) +→ (\w+) +(\S+)  (\w+)$`)
	totalsLine = regexp.MustCompile(`^    calls: `)
)

func scenes(transcript string) []scene {
	var all []scene
	for line := range strings.Lines(transcript) {
		line = strings.TrimRight(line, "\n")
		last := len(all) - 1
		switch c := callLine.FindStringSubmatch(line); {
		case c != nil:
			all[last].calls = append(all[last].calls, call{From: c[1], To: c[2], Path: c[3], Status: c[4]})
		case !strings.HasPrefix(line, " "):
			all = append(all, scene{sentence: line})
		case !totalsLine.MatchString(line):
			all[last].results = append(all[last].results, strings.TrimSpace(line))
		}
	}
	return all
}

// diagramParts are who can take part in a flow, from left to right.
var diagramParts = []struct{ name, title string }{
	{"alice", "go command (alice)"}, {"bob", "go command (bob)"}, {"carol", "go command (carol)"}, {"ci", "CI job"}, {"webhook", "git service"}, {"operator", "operator"},
	{"proxy", "proxy"}, {"registry", "registry"}, {"follower", "registry that follows"}, {"vcs", "version control"},
}

// diagram draws a transcript as a mermaid sequence diagram.
func diagram(transcript string) string {
	out := &strings.Builder{}
	fmt.Fprintln(out, "sequenceDiagram")
	var here []string
	for _, p := range diagramParts {
		if regexp.MustCompile(`(?m)^`+p.name+` | → `+p.name+` `).MatchString(transcript) || p.name == "vcs" {
			here = append(here, p.name)
			fmt.Fprintf(out, "    participant %s as %s\n", p.name, p.title)
		}
	}
	for _, s := range scenes(transcript) {
		fmt.Fprintf(out, "    Note over %s,%s: %s\n", here[0], here[len(here)-1], s.sentence)
		arrows := arrowsOf(s.calls)
		for len(arrows) > 0 {
			arrows = drawArrow(out, arrows[0], arrows[1:])
		}
		for _, idle := range idleServers(s, here) {
			fmt.Fprintf(out, "    Note over %s: 0 calls\n", idle)
		}
		if n := countPrefix(s.results, "/fills: done "); n > 0 {
			fmt.Fprintf(out, "    Note over proxy: /fills: %d done\n", n)
		}
	}
	return out.String()
}

// arrow is all calls of one kind in a scene.
type arrow struct {
	from, to, status string
	calls            []call
}

func arrowsOf(calls []call) []arrow {
	var arrows []arrow
	for _, c := range calls {
		i := slices.IndexFunc(arrows, func(a arrow) bool { return a.from == c.From && a.to == c.To && a.status == c.Status })
		if i < 0 {
			i = len(arrows)
			arrows = append(arrows, arrow{from: c.From, to: c.To, status: c.Status})
		}
		arrows[i].calls = append(arrows[i].calls, c)
	}
	return arrows
}

// drawArrow draws an arrow, the others that it led to, and the answer. It returns
// the arrows that are left.
func drawArrow(out *strings.Builder, a arrow, others []arrow) []arrow {
	fmt.Fprintf(out, "    %s->>%s: %s\n", a.from, a.to, a.label())
	for i := 0; i < len(others); {
		if others[i].from == a.to {
			inner := others[i]
			others = drawArrow(out, inner, slices.Delete(others, i, i+1))
			i = 0
			continue
		}
		i++
	}
	answer := a.status
	if answer == "302" {
		answer = "302, ask the registry"
	}
	fmt.Fprintf(out, "    %s-->>%s: %s\n", a.to, a.from, answer)
	return others
}

// label says what is asked for.
func (a arrow) label() string {
	var versions, modules, files []string
	asked := "" // beside files
	for _, c := range a.calls {
		switch {
		case strings.HasPrefix(c.Path, "sumdb/"):
			asked = ", and its record in the ledger"
			continue
		case strings.HasSuffix(c.Path, "?go-get=1"):
			asked = ", and the pages that say where it is"
			continue
		case !strings.Contains(c.Path, "/") && a.to != "vcs": // an order
			return "POST /" + c.Path
		}
		module, _, _ := strings.Cut(c.version(), "@")
		modules, versions = append(modules, module), append(versions, c.version())
		files = append(files, c.Path[strings.LastIndexAny(c.Path, "./"):])
	}
	versions, modules = slices.Compact(versions), slices.Compact(modules)
	switch {
	case a.to == "vcs" && len(modules) == 1:
		return "git fetch " + modules[0]
	case a.to == "vcs":
		return fmt.Sprintf("git fetch, %d repositories", len(modules))
	case len(versions) == 1:
		return versions[0] + " " + strings.ReplaceAll(strings.Join(files, " "), "/", "") + asked
	case len(modules) == 1:
		return fmt.Sprintf("%s, %d files", modules[0], len(files)) + asked
	}
	return fmt.Sprintf("%d files of %d versions", len(files), len(versions)) + asked
}

// idleServers returns the servers that were not called in a scene in which others were.
func idleServers(s scene, here []string) []string {
	var idle []string
	for _, name := range here {
		called := slices.ContainsFunc(s.calls, func(c call) bool { return c.To == name })
		if len(s.calls) > 0 && !called && (name == "registry" || name == "vcs") {
			idle = append(idle, name)
		}
	}
	return idle
}

func countPrefix(lines []string, prefix string) int {
	n := 0
	for _, l := range lines {
		if strings.HasPrefix(l, prefix) {
			n++
		}
	}
	return n
}
