package athenstest_test

import (
	"encoding/json"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

func TestStoreFails(t *testing.T) {
	v := athenstest.NewVersion(t, athenstest.Example)
	for how, held := range map[string][]string{"failed": nil, "full": nil, "happened": {"info", "mod"}} {
		t.Run(how, func(t *testing.T) {
			s := athenstest.NewStore(t)
			s.Fail("put", how)
			var info athens.Info
			require.NoError(t, json.Unmarshal(v.Info, &info))
			err := s.Put(t.Context(), v.Version, &info, v.Mod)
			require.Error(t, err)
			if how == "full" {
				assert.ErrorIs(t, err, syscall.ENOSPC)
			}
			assert.Equal(t, held, athenstest.Held(t, s, v.Version))
			s.Fail("put", "")
			athenstest.HoldAs(t, s, v, "whole")
			assert.Equal(t, []string{"info", "mod", "zip"}, athenstest.Held(t, s, v.Version))
			assert.Equal(t, 1, s.Count("put"), "HoldAs puts past the faults, and is not counted")
			assert.Zero(t, s.Count("stages"))
		})
	}
}

func TestSourceRecords(t *testing.T) {
	s := athenstest.NewSource(t, "vcs")
	v := s.Add(athenstest.Example, "b.go", "package b\n")
	s.SetQuery(v.Path, "main", v.Version.Version)
	info, err := s.Resolve(t.Context(), v.Path, "main")
	require.NoError(t, err)
	assert.Equal(t, "v1.0.0", info.Version)
	content, err := s.Fetch(t.Context(), v.Version)
	require.NoError(t, err)
	s.HideMod(v.Version)
	_, err = content.Mod(t.Context())
	var missing *athens.MissingError
	assert.ErrorAs(t, err, &missing)
	s.Fail("zip", "cut")
	assert.ErrorIs(t, content.Zip(t.Context(), io.Discard), io.ErrUnexpectedEOF)
	assert.Equal(t, []string{"vcs.fetch", "vcs.mod", "vcs.query", "vcs.zip"}, s.Take())
	assert.Empty(t, s.Take())
	assert.Contains(t, s.Heard(), "example.com/m@main")
	s.Reset()
	assert.Empty(t, s.Heard())
	s.Forget(v.Version)
	_, err = s.Versions(t.Context(), v.Path)
	assert.ErrorAs(t, err, &missing)
}

func TestSourceWaitsAtAGate(t *testing.T) {
	s := athenstest.NewSource(t, "upstream")
	s.Add(athenstest.Example)
	open := s.Gate("list")
	done := make(chan []string)
	go func() {
		versions, err := s.Versions(t.Context(), athenstest.Example.Path)
		assert.NoError(t, err)
		done <- versions
	}()
	select {
	case <-done:
		t.Fatal("the gate is not open yet")
	default:
	}
	open()
	assert.Equal(t, []string{"v1.0.0"}, <-done)
}

func TestSumDBOfAnUpstream(t *testing.T) {
	up := athenstest.SumDBUpstream{Upstream: athenstest.NewUpstream(athenstest.NewSource(t, "upstream"), "http://up.test/")}
	honest, err := up.SumDB(t.Context(), "sumdb/sum.test/lookup/example.com/m@v1.0.0")
	require.NoError(t, err)
	assert.Contains(t, string(honest), "example.com/m v1.0.0 h1:A")
	up.Fail("sumdb", "forged")
	forged, err := up.SumDB(t.Context(), "sumdb/sum.test/lookup/example.com/m@v1.0.0")
	require.NoError(t, err)
	assert.Contains(t, string(forged), "example.com/m v1.0.0 h1:B")
	where, err := up.Location(t.Context(), "example.com/m/@v/list")
	require.NoError(t, err)
	assert.Equal(t, "http://up.test/example.com/m/@v/list", where)
}

func TestFillsAreRecorded(t *testing.T) {
	var q athenstest.Fills
	f := athens.Fill{Module: module.Version{Path: "example.com/m", Version: "v1.0.0"}, Zip: true}
	require.NoError(t, q.Schedule(t.Context(), f, time.Second))
	assert.Equal(t, []string{"example.com/m@v1.0.0 zip after 1s"}, q.Take())
	q.Full = true
	assert.Error(t, q.Schedule(t.Context(), f, 0))
	assert.Empty(t, q.Take())
}

func TestCheckErrorText(t *testing.T) {
	assert.NoError(t, athenstest.CheckErrorText("not found: example.com/m: größe\n"))
	for _, hidden := range []string{"", "\n", "no newline", "two\nlines\n", "tab\there\n", "bad\xff\n", string(make([]byte, 700))} {
		assert.Error(t, athenstest.CheckErrorText(hidden), "%q", hidden)
	}
}
