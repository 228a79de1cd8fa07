package web

import (
	"bytes"
	"strings"
)

// Bounds of a comparison.
const (
	maxDiffBytes = 256 << 10 // of a file
	maxEdits     = 1000      // lines that are added or removed in a file
	maxDiffLines = 3000      // that a page shows
	around       = 3         // lines beside a change
)

// diffLine is a line of a comparison.
type diffLine struct {
	Kind string // same, gone, new or skip
	Old  int    // numbers from 1; 0: not in this version
	New  int
	Text string
}

// diff compares two texts line by line. It reports false if they differ in more than
// maxEdits lines.
func diff(before, after string) ([]diffLine, bool) {
	a, b := splitLines(before), splitLines(after)
	start := 0
	for start < len(a) && start < len(b) && a[start] == b[start] {
		start++
	}
	end := 0
	for end < len(a)-start && end < len(b)-start && a[len(a)-1-end] == b[len(b)-1-end] {
		end++
	}
	numbers := make(map[string]int32) // comparing numbers takes as long for long lines as for short ones
	steps, ok := edits(numbered(a[start:len(a)-end], numbers), numbered(b[start:len(b)-end], numbers))
	if !ok {
		return nil, false
	}
	var all []diffLine
	i, j := 0, 0
	same := func(n int) {
		for range n {
			all = append(all, diffLine{"same", i + 1, j + 1, a[i]})
			i, j = i+1, j+1
		}
	}
	same(start)
	for _, step := range steps {
		switch step {
		case '=':
			same(1)
		case '-':
			all = append(all, diffLine{"gone", i + 1, 0, a[i]})
			i++
		case '+':
			all = append(all, diffLine{"new", 0, j + 1, b[j]})
			j++
		}
	}
	same(end)
	return hunks(all), true
}

func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// numbered gives equal lines equal numbers.
func numbered(lines []string, numbers map[string]int32) []int32 {
	all := make([]int32, len(lines))
	for i, line := range lines {
		n, ok := numbers[line]
		if !ok {
			n = int32(len(numbers))
			numbers[line] = n
		}
		all[i] = n
	}
	return all
}

// edits returns the shortest way from a to b, by Myers' algorithm: a step for each line,
// '=' kept, '-' removed, '+' added.
func edits(a, b []int32) (steps []byte, ok bool) {
	if len(a) == 0 || len(b) == 0 {
		return append(bytes.Repeat([]byte{'-'}, len(a)), bytes.Repeat([]byte{'+'}, len(b))...), true
	}
	most := min(len(a)+len(b), maxEdits)
	reach := make([]int32, 2*most+3) // how far in a each diagonal goes; diagonal k is at most+1+k
	var trace [][]int32
	mid := most + 1
	for d := 0; d <= most; d++ {
		for k := -d; k <= d; k += 2 {
			var x int
			if k == -d || k != d && reach[mid+k-1] < reach[mid+k+1] {
				x = int(reach[mid+k+1])
			} else {
				x = int(reach[mid+k-1]) + 1
			}
			for x < len(a) && x-k < len(b) && x-k >= 0 && a[x] == b[x-k] {
				x++
			}
			reach[mid+k] = int32(x)
			if x >= len(a) && x-k >= len(b) {
				return walkBack(a, b, trace, d), true
			}
		}
		trace = append(trace, append([]int32(nil), reach[mid-d-1:mid+d+2]...))
	}
	return nil, false
}

// walkBack makes the steps of the way that was found after d edits.
func walkBack(a, b []int32, trace [][]int32, d int) []byte {
	x, y := len(a), len(b)
	var steps []byte
	for ; d > 0; d-- {
		before := trace[d-1] // of the diagonals -d … d
		at := func(k int) int { return int(before[k+d]) }
		k := x - y
		from := k - 1
		if k == -d || k != d && at(k-1) < at(k+1) {
			from = k + 1
		}
		toX := at(from)
		toY := toX - from
		for x > toX && y > toY && x > 0 && y > 0 && a[x-1] == b[y-1] {
			steps = append(steps, '=')
			x, y = x-1, y-1
		}
		if from == k+1 {
			steps = append(steps, '+')
			y--
		} else {
			steps = append(steps, '-')
			x--
		}
	}
	for ; x > 0; x-- {
		steps = append(steps, '=')
	}
	for i, j := 0, len(steps)-1; i < j; i, j = i+1, j-1 {
		steps[i], steps[j] = steps[j], steps[i]
	}
	return steps
}

// hunks leaves out what is the same far from a change.
func hunks(all []diffLine) []diffLine {
	keep := make([]bool, len(all))
	for i, l := range all {
		if l.Kind != "same" {
			for j := max(0, i-around); j < min(len(all), i+around+1); j++ {
				keep[j] = true
			}
		}
	}
	var shown []diffLine
	for i, l := range all {
		switch {
		case keep[i]:
			shown = append(shown, l)
		case len(shown) > 0 && shown[len(shown)-1].Kind != "skip":
			shown = append(shown, diffLine{Kind: "skip"})
		case len(shown) == 0:
			shown = append(shown, diffLine{Kind: "skip"})
		}
	}
	return shown
}
