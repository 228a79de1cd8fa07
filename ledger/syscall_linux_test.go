package ledger_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/ledger/ledgertest"
)

// fault is what happens at one system call of a process: the nth of its name in a
// thread.
type fault struct {
	call string
	nth  int
	what string // "signal=SIGKILL", or "error=" and which
}

func (f fault) String() string { return fmt.Sprintf("%s:%s:when=%d", f.call, f.what, f.nth) }

// changes are the calls that can change something, or say that it is durable.
const changes = "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,mkdirat,ftruncate,unlinkat,close,flock"

// traced runs a process that adds samples under strace, and returns what it answered
// and the trace.
func (b *folder) traced(t *testing.T, from, to int, f fault) (answered, trace string) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "trace")
	args := []string{"-f", "-y", "-s", "8", "-e", "signal=none", "-o", out, "-e", "trace=" + changes}
	if f.call != "" {
		args = append(args, "-e", "inject="+f.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // only a broken one takes that long
	defer cancel()
	cmd := exec.CommandContext(ctx, "strace", append(args, exe)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // strace ends with its child
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s %d %d", childEnv, b.dir, b.seen, b.key, from, to), "GOMAXPROCS=1", "GOGC=off")
	output, _ := cmd.CombinedOutput() // what it has answered counts, not how it ended
	require.NoError(t, ctx.Err(), "no end of %v\n%s", f, output)
	data, err := os.ReadFile(out)
	require.NoError(t, err)
	return string(output), string(data)
}

// needStrace skips where processes can't be traced.
func needStrace(t *testing.T) {
	t.Helper()
	if err := exec.CommandContext(t.Context(), "strace", "-e", "trace=none", "true").Run(); err != nil {
		t.Skipf("skipped, system calls are not checked: strace does not work here: %v", err)
	}
}

var answerRE = regexp.MustCompile(`(?m)^added (\d+) (\S+)$`)

// holds checks that all that was answered is there, and that the ledger goes on.
func (b *folder) holds(t *testing.T, answered, what string, from, to int) {
	t.Helper()
	l, err := b.try()
	require.NoError(t, err, "%s\n%s", what, answered)
	sizes := map[int64]tlog.Hash{}
	for _, m := range answerRE.FindAllStringSubmatch(answered, -1) {
		var i int
		_, err := fmt.Sscan(m[1], &i)
		require.NoError(t, err)
		signed, err := base64.StdEncoding.DecodeString(m[2])
		require.NoError(t, err)
		old, err := ledgertest.ParseHead(signed, l.VerifierKey())
		require.NoError(t, err)
		require.NoError(t, ledgertest.Extends(t.Context(), l, old), what)
		require.NoError(t, ledgertest.NewSample(i, "").Proved(t.Context(), l), what)
		if h, twice := sizes[old.N]; twice {
			require.Equal(t, h, old.Hash, "two heads of %d records", old.N)
		}
		sizes[old.N] = old.Hash
	}
	for i := from; i < to; i++ {
		_, err := ledgertest.NewSample(i, "").Add(t.Context(), l)
		require.NoError(t, err, what)
	}
	require.NoError(t, l.Check(t.Context()), what)
	require.NoError(t, l.Close())
	left, err := filepath.Glob(filepath.Join(b.dir, "tmp-*"))
	require.NoError(t, err)
	assert.Empty(t, left, what)
	require.NoError(t, b.open(t).Check(t.Context()), what)
}

// TestEverySystemCall lets a process add records, and kills it at each call that it
// makes, or fails that call with EIO or ENOSPC. Every head that was given out then is
// the beginning of the log, nothing that was answered is lost, and the ledger goes on:
// after the process, and within it where it survives.
//
// An ordinary run tries a sample. With ATHENS_SOAK set it tries all of them.
func TestEverySystemCall(t *testing.T) {
	needStrace(t)
	begin := newFolder(t)
	begin.add(t, 0, 254, "") // the next ones fill a tile
	fresh := func() *folder {
		c := begin.copied(t)
		c.seen = filepath.Join(filepath.Dir(c.dir), "seen")
		data, err := os.ReadFile(begin.seen)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(c.seen, data, 0o666))
		return c
	}
	b := fresh()
	answered, trace := b.traced(t, 254, 258, fault{})
	require.Len(t, answerRE.FindAllString(answered, -1), 4, answered)
	b.holds(t, answered, "no fault", 254, 260)
	var all []fault
	most := map[string]int{}
	count := map[string]int{}
	for _, m := range regexp.MustCompile(`(?m)^(\d+) +(\w+)\(`).FindAllStringSubmatch(trace, -1) {
		thread := m[1] + m[2]
		if count[thread]++; count[thread] > most[m[2]] {
			most[m[2]] = count[thread]
			for _, what := range []string{"signal=SIGKILL", "error=EIO", "error=ENOSPC"} {
				all = append(all, fault{m[2], count[thread], what})
			}
		}
	}
	require.Greater(t, len(all), 100)
	tries := modtest.Soak(9, len(all))
	rnd := modtest.Rand(t)
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	hit, died := 0, 0
	for _, f := range all[:tries] {
		b := fresh()
		answered, trace := b.traced(t, 254, 258, f)
		if strings.Contains(trace, "INJECTED") || strings.Contains(trace, "killed by SIGKILL") {
			hit++
		}
		if !strings.Contains(answered, "added 257") {
			died++
		}
		b.holds(t, answered, f.String(), 254, 260)
	}
	t.Logf("%d of %d faults tried, %d met a call, after %d of them not all was answered", tries, len(all), hit, died)
	require.NotZero(t, hit)
}

// TestOrderOnDisk checks what a kill can't show: whatever a head covers is synced, and
// has its name synced, before the head gets its name, and the head before the answer.
func TestOrderOnDisk(t *testing.T) {
	needStrace(t)
	b := newFolder(t)
	b.add(t, 0, 254, "")
	_, trace := b.traced(t, 254, 258, fault{})
	var (
		dirty   = map[string]bool{}
		heads   int
		answers int
		tiles   int
		lineRE  = regexp.MustCompile(`^\d+ +(\w+)\((.*)`)
		nameRE  = regexp.MustCompile(`<([^<>]*)>|"([^"]*)"`)
		root    = filepath.Dir(b.dir)
	)
	for line := range strings.Lines(trace) {
		m := lineRE.FindStringSubmatch(line)
		if m == nil || strings.Contains(line, "index.db") || strings.Contains(line, "ENOENT") || strings.Contains(line, "EEXIST") {
			continue // the rebuilding the index
		}
		var names []string
		for _, n := range nameRE.FindAllStringSubmatch(m[2], -1) {
			if name := n[1] + n[2]; strings.HasPrefix(name, root) {
				names = append(names, name)
			}
		}
		switch m[1] {
		case "write", "pwrite64":
			if strings.Contains(line, `"added `) {
				answers++
				require.Empty(t, dirty, "answered before this was durable")
			} else if len(names) > 0 {
				dirty[names[0]] = true
			}
		case "fsync", "fdatasync":
			if len(names) > 0 {
				delete(dirty, names[0])
			}
		case "mkdirat":
			if len(names) > 0 {
				dirty[filepath.Dir(names[len(names)-1])] = true
			}
		case "rename", "renameat", "renameat2":
			if len(names) < 2 {
				continue
			}
			from, to := names[len(names)-2], names[len(names)-1]
			require.False(t, dirty[from], "%s got its name before its content was durable", to)
			if to == filepath.Join(b.dir, "head") {
				heads++
				require.Empty(t, dirty, "the head got its name before this was durable")
			}
			if strings.Contains(to, "/tile/8/") {
				tiles++
			}
			dirty[filepath.Dir(to)] = true
		}
	}
	assert.GreaterOrEqual(t, heads, 4)
	assert.Equal(t, 4, answers)
	assert.Equal(t, 1, tiles)
}

// A process that is refused because another has the ledger changes nothing.
func TestSecondProcess(t *testing.T) {
	b := newFolder(t)
	l := b.open(t)
	_, err := ledgertest.NewSample(0, "").Add(t.Context(), l)
	require.NoError(t, err)
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %s 1 2", childEnv, b.dir, b.seen, b.key))
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	assert.Contains(t, string(out), ledger.ErrInUse.Error())
	_, err = ledgertest.NewSample(2, "").Add(t.Context(), l)
	require.NoError(t, err)
	require.NoError(t, l.Check(t.Context()))
}
