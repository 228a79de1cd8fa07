package sumcheck

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"
)

func parseTile(t testing.TB, path string) tlog.Tile {
	tile, err := tlog.ParseTilePath(path)
	require.NoError(t, err)
	return tile
}

// ofPath changes the answers to paths that begin so.
func ofPath(prefix string, change func([]byte) []byte) func(string, []byte) []byte {
	return func(path string, body []byte) []byte {
		if strings.HasPrefix(path, prefix) {
			return change(body)
		}
		return body
	}
}

func replace(old, with string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(with), 1) }
}

// Whatever is wrong with an answer, nothing of it is kept.
func TestNothingWrongIsKept(t *testing.T) {
	m := numbered(700)
	for _, c := range []struct {
		name   string
		change func(string, []byte) []byte
		want   string
		alarm  bool
		keyed  bool // found out only with the key
	}{
		{"a page", ofPath("lookup/", func([]byte) []byte { return []byte("<html>login\n\n") }), "malformed record data", false, false},
		{"nothing", ofPath("lookup/", func([]byte) []byte { return []byte{} }), "malformed record data", false, false},
		{"large record", ofPath("lookup/", func([]byte) []byte { return make([]byte, 1<<20) }), "more than 65536", false, false},
		{"another version", ofPath("lookup/", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("m700 "), []byte("m70 ")) }), "does not speak of", false, false},
		{"another spelling", ofPath("lookup/", replace("700\n", "0700\n")), "malformed record number", false, false},
		{"a number below zero", ofPath("lookup/", replace("700\n", "-700\n")), "malformed record number", false, false},
		{"a number outside", ofPath("lookup/", replace("700\n", "1000000\n")), "is not in a tree of", false, false},
		{"another record", ofPath("lookup/", replace("700\n", "600\n")), "is another one", true, false},
		{"forged record", ofPath("lookup/", replace("h1:", "h1:A")), "is another one", true, false},
		{"forged tree", ofPath("lookup/", replace("go.sum database tree\n1000\n", "go.sum database tree\n999\n")), "do not lead to the signed tree", true, false},
		{"forged tree, known key", ofPath("lookup/", replace("go.sum database tree\n1000\n", "go.sum database tree\n999\n")), "not signed by sum.test", false, true},
		{"no tree", ofPath("lookup/", func(b []byte) []byte { return b[:bytes.Index(b, []byte("\n\n"))+2] }), "not signed by sum.test", false, false},
		{"signed by another", ofPath("lookup/", replace("— sum.test", "— sun.test")), "not signed by sum.test", false, false},
		{"endless tree", ofPath("lookup/", replace("tree\n1000\n", "tree\n9223372036854775807\n")), "is too large", false, false},
		{"forged tile", ofPath("tile/8/0/", func(b []byte) []byte { return bytes.Repeat([]byte{1}, len(b)) }), "do not lead to", true, false},
		{"forged top tile", ofPath("tile/8/1/", func(b []byte) []byte { return bytes.Repeat([]byte{1}, len(b)) }), "do not lead to", true, false},
		{"short tile", ofPath("tile/", func(b []byte) []byte { return b[:len(b)/2] }), "do not lead to", true, false},
		{"empty tile", ofPath("tile/", func([]byte) []byte { return []byte{} }), "do not lead to", true, false},
	} {
		for _, keyed := range []bool{false, true} {
			if c.keyed && !keyed || keyed && (c.name == "forged tree" || c.name == "endless tree") {
				continue
			}
			t.Run(fmt.Sprint(c.name, " ", keyed), func(t *testing.T) {
				w := newWorld(t, 1000)
				if keyed {
					w.withKey()
				}
				w.change = c.change
				d := w.open()
				for range 2 {
					_, _, err := w.lookup(d, m)
					wrong, ok := err.(*Error)
					require.True(t, ok, "%v", err)
					assert.Contains(t, err.Error(), c.want)
					assert.Equal(t, c.alarm, wrong.Alarm)
					assert.Empty(t, w.kept)
				}
				w.change = nil // and nothing stays behind
				_, _, err := w.lookup(d, m)
				require.NoError(t, err)
				assert.Len(t, w.kept, 3, "the tree, the record, its tile: %v", w.names())
			})
		}
	}
}

// Who shows one client one tree and another one later is found out, and what is
// kept stays.
func TestContradiction(t *testing.T) {
	for name, c := range map[string]struct {
		size, ask int
		want      string
	}{
		"a later tree":         {1100, 1050, "contradict each other"},
		"a tree of equal size": {600, 20, "of one size contradict"},
		"an earlier tree":      {500, 20, "do not lead to the signed tree"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 600).withKey()
			d := w.open()
			_, _, err := w.lookup(d, numbered(599))
			require.NoError(t, err)
			kept := w.names()
			truth := w.server
			w.serve(c.size, "fork")
			_, _, err = w.lookup(d, numbered(c.ask))
			wrong, ok := err.(*Error)
			require.True(t, ok, "%v", err)
			assert.True(t, wrong.Alarm)
			assert.Contains(t, err.Error(), c.want)
			assert.Equal(t, kept, w.names())

			got, err := d.Latest(t.Context(), latest(t, w), w.Ask)
			if name == "an earlier tree" { // is neither kept nor given to anyone
				require.NoError(t, err)
				assert.Equal(t, d.Head(t.Context()).Note, got)
			} else {
				wrong, ok = err.(*Error)
				require.True(t, ok, "%v", err)
				assert.True(t, wrong.Alarm)
			}
			w.server = truth
			got, err = d.Latest(t.Context(), latest(t, w), w.Ask)
			require.NoError(t, err)
			assert.Equal(t, d.Head(t.Context()).Note, got)
			_, _, err = w.lookup(d, numbered(20))
			assert.NoError(t, err)
		})
	}
}

func latest(t testing.TB, w *world) []byte {
	body, err := w.Ask(t.Context(), "latest")
	require.NoError(t, err)
	return body
}

// What can't be proved is passed on as it came, and not kept.
func TestUnprovedIsPassedOn(t *testing.T) {
	w := newWorld(t, 1000)
	w.change = ofPath("tile/", func([]byte) []byte { return nil })
	d := w.open()
	body, held, err := w.lookup(d, numbered(700))
	require.NoError(t, err)
	assert.False(t, held)
	assert.Contains(t, body, "m700 v1.0.0 h1:")
	assert.Empty(t, w.kept)
	_, _, err = d.Tile(t.Context(), parseTile(t, "tile/8/0/001"), w.Ask)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	w.change = nil
	for _, path := range []string{"tile/8/0/001", "tile/8/0/003.p/7", "tile/2/0/001", "tile/8/data/001", "tile/8/data/003.p/2"} {
		data, held, err := d.Tile(t.Context(), parseTile(t, path), w.Ask)
		require.NoError(t, err, path)
		assert.False(t, held)
		assert.NotEmpty(t, data)
		assert.Empty(t, w.kept, "no tree is known that has it")
	}
	_, _, err = w.lookup(d, module.Version{Path: "none.test/m", Version: "v1.0.0"})
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.Empty(t, w.kept)
	got, err := d.Latest(t.Context(), latest(t, w), w.Ask)
	require.NoError(t, err)
	assert.Equal(t, latest(t, w), got)
	assert.Empty(t, w.kept, "who asks for the tree only does not make it one to keep")
}

// Tiles of the kept tree are answered from it, narrower ones from wider ones;
// what lies beyond is passed on.
func TestTiles(t *testing.T) {
	w := newWorld(t, 70_000)
	d := w.open()
	_, _, err := w.lookup(d, numbered(69_999))
	require.NoError(t, err)
	w.grow(0, 70_100)
	for _, c := range []struct {
		path string
		held string // the second time
	}{
		{"tile/8/0/000", "kept"}, {"tile/8/0/005.p/17", "kept"}, {"tile/8/0/273.p/112", "kept"}, {"tile/8/0/273.p/1", "kept"},
		{"tile/8/0/273.p/113", "passed on"}, {"tile/8/1/000", "kept"}, {"tile/8/1/000.p/255", "kept"}, {"tile/8/1/001.p/17", "kept"},
		{"tile/8/1/001.p/18", "missing"}, {"tile/8/2/000.p/1", "kept"}, {"tile/8/2/000.p/2", "missing"}, {"tile/8/6/000.p/1", "missing"},
		{"tile/8/7/000.p/1", "missing"}, {"tile/8/0/274", "missing"},
		{"tile/4/1/000", "passed on"},
	} {
		tile := parseTile(t, c.path)
		want, werr := w.Ask(t.Context(), c.path)
		data, _, err := d.Tile(t.Context(), tile, w.Ask)
		if c.held == "missing" {
			require.Error(t, err, c.path)
			require.Error(t, werr, c.path)
			continue
		}
		require.NoError(t, err, c.path)
		assert.Equal(t, want, data, c.path)
		w.calls()
		again, held, err := w.open().Tile(t.Context(), tile, w.Ask) // another process
		require.NoError(t, err, c.path)
		assert.Equal(t, want, again, c.path)
		assert.Equal(t, c.held == "kept", held, c.path)
		assert.Equal(t, c.held == "kept", len(w.calls()) == 0, c.path)
	}
	for _, name := range w.names() {
		assert.NotContains(t, name, ".p/")
	}
}

// A store in which something is broken heals, and never lets anything wrong out.
func TestBrokenStore(t *testing.T) {
	for _, damage := range []func([]byte) []byte{
		func([]byte) []byte { return nil },
		func([]byte) []byte { return []byte{} },
		func(b []byte) []byte { return b[:len(b)/2] },
		func(b []byte) []byte { b[len(b)/3] ^= 1; return b },
		func(b []byte) []byte { return append(b, b...) },
	} {
		w := newWorld(t, 1000).withKey()
		d := w.open()
		for _, i := range []int{700, 999} {
			_, _, err := w.lookup(d, numbered(i))
			require.NoError(t, err)
		}
		for _, name := range w.names() {
			good := w.kept[name]
			bad := damage(bytes.Clone(good))
			if w.kept[name] = bad; bad == nil {
				delete(w.kept, name)
			}
			w.down = true
			d := w.open()
			if body, _, err := w.lookup(d, numbered(700)); err == nil {
				r, err := ParseLookup([]byte(body), numbered(700))
				require.NoError(t, err)
				_, err = ParseTree(r.Note, "sum.test", w.verifier)
				require.NoError(t, err)
				require.EqualValues(t, 700, r.ID)
			}
			w.down = false
			for range 2 {
				c := &client{w: w, d: w.open()}
				require.NoError(t, c.verify(700, 999), name)
			}
			c := &client{w: w, d: w.open()}
			require.NoError(t, c.verify(700, 999), name)
			assert.Zero(t, c.asked.Load(), "%s has healed", name)
		}
	}
}

// A store that takes no more changes no answer, and keeps the tree that what it
// has belongs to.
func TestFullStore(t *testing.T) {
	w := newWorld(t, 600)
	d := w.open()
	c := &client{w: w, d: d}
	require.NoError(t, c.verify(599, 3))
	w.grow(0, 1500)
	w.full = true
	kept := w.names()
	c = &client{w: w, d: d}
	require.NoError(t, c.verify(1400, 3, 599, 700, 20))
	assert.Equal(t, kept, w.names())
	assert.NotEmpty(t, w.notes)
	w.down = true
	c = &client{w: w, d: w.open()}
	require.NoError(t, c.verify(3, 599))
	w.down, w.full = false, false
	c = &client{w: w, d: d}
	require.NoError(t, c.verify(1400, 3, 599, 700, 20))
	w.down = true
	c = &client{w: w, d: w.open()}
	require.NoError(t, c.verify(700, 3, 599, 1400, 20))
}

// A database that keeps full tiles only, once they are full.
func TestPartialTilesThatAreGone(t *testing.T) {
	w := newWorld(t, 600)
	answer, err := w.Ask(t.Context(), "lookup/"+numbered(599).String())
	require.NoError(t, err)
	w.grow(0, 1024)
	w.other = func(path string) ([]byte, bool) { return answer, strings.HasPrefix(path, "lookup/") }
	w.change = func(path string, body []byte) []byte {
		if strings.HasPrefix(path, "tile/8/0/") && strings.Contains(path, ".p/") {
			return nil
		}
		return body
	}
	_, _, err = w.lookup(w.open(), numbered(599))
	require.NoError(t, err)
	assert.Contains(t, w.names(), "sum.test/head")
}

// What a go command has in its module cache is as good, once it is proved.
func TestAdoptedCache(t *testing.T) {
	w := newWorld(t, 1000).withKey()
	for _, path := range []string{"lookup/" + numbered(700).String(), "tile/8/0/002", "tile/8/0/003.p/232", "tile/8/1/000.p/3"} {
		body, err := w.Ask(t.Context(), path)
		require.NoError(t, err)
		w.kept["sum.test/"+path] = body
	}
	w.calls()
	w.down = true
	c := &client{w: w, d: w.open()}
	require.NoError(t, c.verify(700))
	assert.Zero(t, c.asked.Load())
	assert.Contains(t, w.names(), "sum.test/head")
}

// Latest moves the kept tree on, and never back.
func TestLatest(t *testing.T) {
	w := newWorld(t, 300)
	d := w.open()
	_, _, err := w.lookup(d, numbered(5))
	require.NoError(t, err)
	old := latest(t, w)
	w.grow(0, 900)
	got, err := d.Latest(t.Context(), latest(t, w), w.Ask)
	require.NoError(t, err)
	assert.Equal(t, latest(t, w), got)
	assert.EqualValues(t, 900, w.open().Head(t.Context()).Tree.N)
	newer, err := d.Latest(t.Context(), old, w.Ask)
	require.NoError(t, err)
	assert.Equal(t, got, newer)
	w.grow(0, 1000)
	beyond := latest(t, w)
	w.down = true
	got, err = d.Latest(t.Context(), beyond, w.Ask)
	require.NoError(t, err)
	assert.Equal(t, beyond, got, "can't be proved, and is passed on")
	assert.EqualValues(t, 900, d.Head(t.Context()).Tree.N)
	for _, bad := range []string{"", "go.sum database tree\n", string(bytes.Replace(beyond, []byte("database"), []byte("databasE"), 1))} {
		_, err = d.Latest(t.Context(), []byte(bad), w.Ask)
		assert.Error(t, err)
	}
	c := &client{w: w, d: w.open()}
	assert.NoError(t, c.verify(5), "its tiles have grown with the tree")
}

// Two processes on one store: a later tree is taken over, an earlier one and one
// that contradicts is not.
func TestTreeOfAnotherProcess(t *testing.T) {
	w := newWorld(t, 300)
	a, b := w.open(), w.open()
	for _, d := range []*Database{a, b} {
		_, _, err := w.lookup(d, numbered(299))
		require.NoError(t, err)
	}
	early := w.kept["sum.test/head"]
	w.grow(0, 600)
	_, _, err := w.lookup(b, numbered(599))
	require.NoError(t, err)
	w.down = true
	_, held, err := w.lookup(a, numbered(599))
	require.NoError(t, err)
	assert.True(t, held, "a has not seen that tree before")
	assert.EqualValues(t, 600, a.Head(t.Context()).Tree.N)
	w.down = false

	w.kept["sum.test/head"] = early
	w.grow(0, 700)
	_, _, err = w.lookup(a, numbered(699))
	require.NoError(t, err)
	assert.EqualValues(t, 700, w.open().Head(t.Context()).Tree.N)

	other := newWorld(t, 0)
	other.serve(900, "fork")
	_, _, err = other.lookup(other.open(), numbered(899))
	require.NoError(t, err)
	w.kept["sum.test/head"] = other.kept["sum.test/head"]
	w.kept["sum.test/tile/8/0/002"], err = other.Ask(t.Context(), "tile/8/0/002")
	require.NoError(t, err)
	w.grow(0, 800)
	_, _, err = w.lookup(a, numbered(799))
	require.NoError(t, err)
	assert.Len(t, w.notes, 2, "seen before and after the proof: %v", w.notes)
	c := &client{w: w, d: w.open()}
	assert.NoError(t, c.verify(299, 599, 699, 799))
}

// A store that can't be read for a while changes no answer, and its tree is not
// replaced by one that nobody has compared with it.
func TestUnreadableStore(t *testing.T) {
	w := newWorld(t, 300)
	_, _, err := w.lookup(w.open(), numbered(299))
	require.NoError(t, err)
	kept := bytes.Clone(w.kept["sum.test/head"])
	truth := w.server
	w.serve(600, "fork")
	w.broken = true
	d := w.open()
	_, held, err := w.lookup(d, numbered(599))
	require.NoError(t, err)
	assert.False(t, held)
	assert.NotEmpty(t, w.notes)
	assert.Equal(t, kept, w.kept["sum.test/head"])
	w.broken = false
	_, _, err = w.lookup(d, numbered(599))
	assert.ErrorContains(t, err, "contradict each other")
	w.server = truth
	_, _, err = w.lookup(d, numbered(5))
	assert.NoError(t, err)
}

// A process that was slower than another does not put its earlier tree in place
// of the later one.
func TestSlowerProcess(t *testing.T) {
	w := newWorld(t, 600)
	slow, fast := w.open(), w.open()
	overtaken := false
	_, _, err := slow.Lookup(t.Context(), numbered(599), "lookup/"+numbered(599).String(), func(ctx context.Context, path string) ([]byte, error) {
		body, err := w.Ask(ctx, path)
		if strings.HasPrefix(path, "lookup/") && !overtaken {
			overtaken = true
			w.grow(0, 800)
			_, _, err := w.lookup(fast, numbered(799))
			require.NoError(t, err)
			delete(w.kept, "sum.test/head") // slow does not see it before its proof …
		}
		if path == "tile/8/1/000.p/2" { // … but after it
			assert.NoError(t, w.PutSumDB(ctx, "sum.test/head", fast.Head(ctx).encode()))
		}
		return body, err
	})
	require.NoError(t, err)
	assert.True(t, overtaken)
	assert.EqualValues(t, 800, slow.Head(t.Context()).Tree.N)
	assert.EqualValues(t, 800, w.open().Head(t.Context()).Tree.N)
}
