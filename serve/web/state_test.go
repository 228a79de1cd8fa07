package web

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// What happened is shown after a restart: traffic, failures with their reason, what was
// blocked, and the growth of the store.
func TestStateSurvives(t *testing.T) {
	file := filepath.Join(t.TempDir(), ".web")
	all := false
	opts := &Options{StateFile: file, AllowAll: func(*http.Request) bool { return all }}
	m := module.Version{Path: "example.com/broken", Version: "v1.2.3"}
	before := newShown(t, opts, nil)
	before.save()
	assert.NoFileExists(t, file, "nothing has happened")
	before.sample()
	before.observe(&athens.Event{Op: athens.OpRequest, File: "zip", Outcome: athens.OutcomeHeld, Module: m, Bytes: 1500})
	before.observe(&athens.Event{Op: athens.OpRequest, File: "zip", Outcome: athens.OutcomeHeld, Module: module.Version{Path: "corp.test/secret", Version: "v1.0.0"}, Bytes: 2500})
	before.observe(&athens.Event{Op: athens.OpZip, Source: athens.SourceVCS, Outcome: athens.OutcomeFailed, Module: m, Err: &athens.UnavailableError{Source: "vcs", Err: errors.New("https://me:hunter2@git.test/x: refused")}})
	before.observe(&athens.Event{Op: athens.OpRequest, Outcome: athens.OutcomeBlocked, Module: m, Err: &athens.BlockedError{Path: m.Path, Version: m.Version, Reason: "too <young>", Until: time.Now().Add(3*time.Hour + time.Minute)}})
	for range 2 * maxHistory { // which push no failure out
		before.observe(&athens.Event{Op: athens.OpInfo, Outcome: athens.OutcomeDone, Module: module.Version{Path: "example.com/busy", Version: "v1.0.0"}})
	}
	assert.Contains(t, before.page("/-/fills"), "the source can&#39;t be reached")
	before.save()
	written, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(written), "hunter2")
	assert.Less(t, len(written), 512<<10)

	s := newShown(t, opts, nil)
	s.load()
	assert.Contains(t, s.page("/"), "<dd>1.5 kB</dd>", "of public modules")
	history := s.page("/-/fills?m=" + m.String())
	assert.Contains(t, history, "the source can&#39;t be reached")
	assert.NotContains(t, history, "git.test", "not for everybody")
	policyPage := s.page("/-/policy")
	assert.Contains(t, policyPage, "too &lt;young&gt;")
	assert.Contains(t, policyPage, "in 3 hours")
	assert.Equal(t, before.activity.days, s.activity.days)
	all = true
	assert.Contains(t, s.page("/"), "<dd>4 kB</dd>")
	assert.Contains(t, s.page("/-/fills?m="+m.String()), "https://git.test/x: refused")
}

// What a process left that died while it wrote is removed, but not what another one writes.
func TestStateIsSwept(t *testing.T) {
	dir := t.TempDir()
	old, now := filepath.Join(dir, newState+"old"), filepath.Join(dir, newState+"now")
	require.NoError(t, os.WriteFile(old, nil, 0o600))
	require.NoError(t, os.WriteFile(now, nil, 0o600))
	require.NoError(t, os.Chtimes(old, time.Time{}, time.Now().Add(-2*time.Hour)))
	newShown(t, &Options{StateFile: filepath.Join(dir, "state")}, nil).load()
	assert.NoFileExists(t, old)
	assert.FileExists(t, now)
}

// A file that is damaged, or can't be written, costs what it would have kept, and a line in
// the log.
func TestStateIsDamaged(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "text": "{", "version": `{"Version":2}`, "null": "null", "list": "[]", "zeros": strings.Repeat("\x00", 100), "large": `{"Version":1}` + strings.Repeat(" ", maxStateBytes),
		"count": `{"Version":1,"Slots":[{"N":1,"Public":[-1,0,0,0,0,0]}]}`, "slot": `{"Version":1,"Slots":[{"N":-1}]}`, "days": `{"Version":1,"Days":[{"Day":5},{"Day":5}]}`,
		"future": `{"Version":1,"Days":[{"Day":99999999}]}`, "negative": `{"Version":1,"Days":[{"Day":5,"All":{"Bytes":-1}}]}`,
		"path": `{"Version":1,"Failed":[{"Path":"<script>","Ver":"v1.0.0"}]}`, "many": `{"Version":1,"Slots":[` + strings.Repeat(`{"N":1},`, slots) + `{"N":1}]}`,
	} {
		file := filepath.Join(t.TempDir(), "state")
		require.NoError(t, os.WriteFile(file, []byte(content), 0o666))
		var log bytes.Buffer
		s := newShown(t, &Options{StateFile: file, Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
		s.load()
		assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), "%s: %s", name, log.String())
		assert.Contains(t, s.page("/"), "4 versions of 3 modules", name)
		s.observe(&athens.Event{Op: athens.OpInfo, Outcome: athens.OutcomeDone, Module: module.Version{Path: "example.com/m", Version: "v1.0.0"}})
		s.save()
		again, err := readState(file)
		require.NoError(t, err, "%s: it is written anew", name)
		assert.Len(t, again.History, 1, name)
	}
	var log bytes.Buffer
	s := newShown(t, &Options{StateFile: filepath.Join(t.TempDir(), "missing", "folder", "state"), Logger: slog.New(slog.NewTextHandler(&log, nil))}, nil)
	s.load()
	for range 3 {
		s.observe(&athens.Event{Op: athens.OpInfo, Outcome: athens.OutcomeDone, Module: module.Version{Path: "example.com/m", Version: "v1.0.0"}})
		s.save()
	}
	assert.Equal(t, 1, strings.Count(log.String(), "level=WARN"), log.String())
}

// The growth is of what the reader may see; a reader who sees some of the private modules is
// shown no totals.
func TestGrowth(t *testing.T) {
	all := false
	s := newShown(t, &Options{AllowAll: func(*http.Request) bool { return all }}, nil)
	s.sample()
	require.Len(t, s.activity.days, 1, "all was stored today")
	today := s.activity.days[0]
	assert.Equal(t, []int64{4, 5, 3, 4}, []int64{today.All.Modules, today.All.Versions, today.Public.Modules, today.Public.Versions})
	assert.Contains(t, s.page("/-/store"), "from the second day on")
	past := day{Day: today.Day - 9, All: totals{1, 2, 1000}, Public: totals{1, 1, 500}, Known: true}
	s.activity.days = append([]day{past}, s.activity.days...)
	page := s.page("/-/store")
	assert.Contains(t, page, `aria-label="Versions held over 10 days: 1 at first, 4 now, 4 at most."`)
	assert.Contains(t, page, "bytes, from 500 B to ")
	all = true
	assert.Contains(t, s.page("/-/store"), `aria-label="Versions held over 10 days: 2 at first, 5 now, 5 at most."`)
	all = false
	s.opts.Allow = func(*http.Request, module.Version) error { return nil }
	assert.NotContains(t, s.page("/-/store"), "Growth")
}

// A site that has no file yet makes the days of a store by the times of its files.
func TestGrowthOfAnOldStore(t *testing.T) {
	at := time.Unix(1_000_000_000, 0)
	from := make(seed)
	from.note(at.Add(48*time.Hour), false, true, 30)
	from.note(at, true, true, 10)
	from.note(at.Add(time.Hour), true, false, 5)
	a := newActivity()
	a.grow(from)
	assert.Equal(t, []day{
		{dayOf(at), totals{2, 2, 15}, totals{1, 1, 5}, true},
		{dayOf(at) + 2, totals{2, 3, 45}, totals{1, 1, 5}, true},
	}, a.days)
	a.grow(seed{1: {Day: 1}})
	assert.Len(t, a.days, 2, "what was counted is better")
}
