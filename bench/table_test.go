package bench_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// table is what has been measured.
type table struct {
	counts
	lines []line
}

// line is one measurement, perhaps with a target.
type line struct {
	what   string
	who    string
	value  float64
	unit   string  // "×", "calls", "ms", …
	target float64 // at most; negative: none, shown for comparison
	note   string  // the times behind a ratio
}

const noTarget = -1

func (l line) missed() bool { return l.target >= 0 && l.value > l.target }

func (l line) cells() []string {
	target, verdict := "–", "–"
	if l.target >= 0 {
		target, verdict = "≤ "+number(l.target)+" "+l.unit, "pass"
	}
	if l.missed() {
		verdict = "**FAIL**"
	}
	return []string{l.what, l.who, number(l.value) + " " + l.unit, target, verdict, l.note}
}

// number writes what a table can show of x.
func number(x float64) string {
	switch {
	case x == float64(int64(x)) || x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}

// add notes a line, and shows it at once to who waits for the table.
func (b *table) add(t *testing.T, l line) {
	t.Helper()
	b.lines = append(b.lines, l)
	t.Log(strings.Join(l.cells(), " | "))
}

func (b *table) String() string {
	var s strings.Builder
	s.WriteString("| what | who | measured | target | verdict | behind it |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, l := range b.lines {
		s.WriteString("| " + strings.Join(l.cells(), " | ") + " |\n")
	}
	return s.String()
}

// The marks between which a document holds the table.
const (
	beginMark = "<!-- make bench: begin -->\n"
	endMark   = "<!-- make bench: end -->\n"
)

// publish prints the table, puts it into the document that -doc names, and fails
// if a target was missed.
func (b *table) publish(t *testing.T) {
	t.Helper()
	text := machine() + "\n" + b.String()
	fmt.Print("\n" + text + "\n")
	for _, l := range b.lines {
		if l.missed() && !*quick {
			t.Errorf("missed: %s, %s: %s %s, target %s", l.what, l.who, number(l.value), l.unit, number(l.target))
		}
	}
	if *doc == "" {
		return
	}
	old, err := os.ReadFile(*doc)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, ok := bytes.Cut(old, []byte(beginMark))
	_, tail, ok2 := bytes.Cut(rest, []byte(endMark))
	if !ok || !ok2 {
		t.Fatalf("%s has no marks %q and %q", *doc, beginMark, endMark)
	}
	page := slices.Concat(head, []byte(beginMark+text), []byte(endMark), tail)
	if err := os.WriteFile(*doc, page, 0o666); err != nil {
		t.Fatal(err)
	}
}

// machine says where the table was measured.
func machine() string {
	model := "unknown processor"
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(cpuinfo)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	git, _ := exec.Command("git", "version").Output()
	how := ""
	if *quick {
		how = " A quick run: it proves nothing."
	}
	return fmt.Sprintf("%s: %d × %s, linux %s, %s, %s, load %s at the end.%s\n", time.Now().UTC().Format(time.DateOnly),
		runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version(), strings.TrimSpace(string(git)), load, how)
}

// cost is what something took.
type cost struct {
	wall time.Duration
	cpu  time.Duration // of whoever is named beside it
}

// median is the cost in the middle, wall and CPU time each by itself.
func median(all []cost) cost {
	return cost{
		middle(all, func(c cost) time.Duration { return c.wall }),
		middle(all, func(c cost) time.Duration { return c.cpu }),
	}
}

func middle[T any](all []T, of func(T) time.Duration) time.Duration {
	var values []time.Duration
	for _, one := range all {
		values = append(values, of(one))
	}
	return quantile(values, 0.5)
}

// quantile returns the value below which that share of the values is.
func quantile(values []time.Duration, share float64) time.Duration {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

// ratio is a to b, where b may be too short to be seen.
func ratio(a, b time.Duration) float64 { return float64(a) / float64(max(b, time.Microsecond)) }

// short writes a time with the digits that matter.
func short(d time.Duration) string {
	for _, unit := range []time.Duration{time.Second, time.Millisecond, time.Microsecond} {
		if d >= unit {
			return d.Round(unit / 100).String()
		}
	}
	return d.String()
}
