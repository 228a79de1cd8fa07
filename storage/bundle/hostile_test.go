package bundle

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
)

// entry is one of a forged bundle.
type entry struct {
	tar.Header
	data []byte
}

// forge makes a bundle of any entries and lines.
func forge(t testing.TB, lines string, all ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := newWriter(&b)
	require.NoError(t, err)
	for _, e := range all {
		if e.Typeflag == 0 {
			e.Typeflag = tar.TypeReg
		}
		if e.Size == 0 {
			e.Size = int64(len(e.data))
		}
		require.NoError(t, w.tar.WriteHeader(&e.Header))
		_, err := w.tar.Write(e.data)
		require.NoError(t, err)
	}
	require.NoError(t, w.end(&Manifest{text: []byte(firstLine + "\n" + lines)}, nil))
	return b.Bytes()
}

// described is a version with its line and its entries.
type described struct {
	line    string
	entries []entry
}

// describe says what a good bundle has of a version.
func describe(v storagetest.Sample) described {
	info, _ := v.Info.Encode()
	dir, _ := escaped(v.Module.Path)
	l := &version{m: v.Module, state: carried, hasZip: true, info: partOf(info), mod: partOf(v.Mod), zip: partOf(v.Zip), h1: v.H1}
	d := described{line: string(l.append(nil))}
	for ext, data := range map[string][]byte{".info": info, ".mod": v.Mod, ".zip": v.Zip} {
		d.entries = append(d.entries, entry{tar.Header{Name: dir + v.Module.Version + ext, Mode: 0o644}, data})
	}
	slices.SortFunc(d.entries, func(a, b entry) int { return strings.Compare(a.Name, b.Name) })
	return d
}

// list is the entry with a module's list.
func list(path string, versions ...string) entry {
	dir, _ := escaped(path)
	return entry{tar.Header{Name: dir + "list", Mode: 0o644}, []byte(strings.Join(versions, "\n") + "\n")}
}

// refuses checks that a bundle is refused for that reason, and nothing of it becomes visible.
func refuses(t *testing.T, b []byte, want string) {
	t.Helper()
	to := storage.NewMemory()
	sum, err := importInto(t, to, b, nil)
	require.ErrorContains(t, err, want)
	assert.Nil(t, sum)
	assert.Empty(t, tree(t, to))
	var format *FormatError
	var invalid *athens.InvalidError
	assert.True(t, errors.As(err, &format) || errors.As(err, &invalid), "%v", err)
}

func TestHostileContent(t *testing.T) {
	v, other := sample("a.test/m", "v1.0.0", "a"), sample("a.test/m", "v1.0.0", "b")
	good, wrong := describe(v), describe(other)
	lines, versions := "module a.test/m\n"+good.line, list("a.test/m", "v1.0.0")
	all := append(slices.Clone(good.entries), versions)
	_, err := importInto(t, storage.NewMemory(), forge(t, lines, all...), nil)
	require.NoError(t, err, "the bundle that the others are made of is good")
	with := func(i int, change func(*entry)) []entry {
		changed := slices.Clone(all)
		change(&changed[i])
		return changed
	}
	for name, c := range map[string]struct {
		entries []entry
		want    string
	}{
		"reordered":     {[]entry{all[1], all[0], all[2], all[3]}, "where the file a.test/m/@v/v1.0.0.info should be"},
		"lacking":       {all[:3], "ends where a.test/m/@v/list should be"},
		"twice":         {append(slices.Clone(all), all[3]), "where nothing should be"},
		"more":          {append(slices.Clone(all), entry{tar.Header{Name: "b.test/m/@v/list"}, []byte("v1.0.0\n")}), "where nothing should be"},
		"escaping":      {with(0, func(e *entry) { e.Name = "../../etc/passwd" }), "where the file"},
		"absolute":      {with(0, func(e *entry) { e.Name = "/a.test/m/@v/v1.0.0.info" }), "where the file"},
		"upper case":    {with(0, func(e *entry) { e.Name = "A.test/m/@v/v1.0.0.info" }), "where the file"},
		"symbolic link": {with(0, func(e *entry) { e.Typeflag, e.Linkname, e.data = tar.TypeSymlink, "/etc/passwd", nil }), "where the file"},
		"hard link":     {with(0, func(e *entry) { e.Typeflag, e.Linkname, e.data = tar.TypeLink, "/etc/passwd", nil }), "where the file"},
		"folder":        {with(0, func(e *entry) { e.Typeflag, e.data = tar.TypeDir, nil }), "where the file"},
		"device":        {with(0, func(e *entry) { e.Typeflag, e.data = tar.TypeChar, nil }), "where the file"},
		"other list":    {append(slices.Clone(good.entries), list("a.test/m", "v1.0.0", "v9.0.0")), "list has 14 bytes, more than 7"},
		"other info":    {with(0, func(e *entry) { e.data = bytes.ToUpper(e.data) }), "SHA-256"},
		"other zip":     {with(2, func(e *entry) { e.data = wrong.entries[2].data }), "v1.0.0.zip"},
		"longer":        {with(1, func(e *entry) { e.data = append(bytes.Clone(e.data), 'x') }), "bytes, more than"},
		"shorter":       {with(1, func(e *entry) { e.data = e.data[:3] }), "has 3 bytes; the manifest says"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, forge(t, lines, c.entries...), c.want) })
	}
	t.Run("bomb", func(t *testing.T) {
		zeros := entry{tar.Header{Name: "a.test/m/@v/v1.0.0.info"}, make([]byte, 8<<20)}
		refuses(t, forge(t, lines, zeros), "has 8388608 bytes, more than")
		// What a tar reader skips is unpacked, too.
		refuses(t, forge(t, lines, append(slices.Clone(all), zeros)...), "where nothing should be")
		refuses(t, forge(t, lines, append([]entry{{tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "x", PAXRecords: map[string]string{"comment": strings.Repeat("x", 1<<19)}}, nil}}, all...)...), "where the file")
	})
}

// The manifest describes the content truly, and the content itself is bad.
func TestHostileVersions(t *testing.T) {
	v := sample("a.test/m", "v1.0.0", "a")
	for name, c := range map[string]struct {
		change func(*storagetest.Sample)
		want   string
	}{
		"info of another version": {func(v *storagetest.Sample) { v.Info = &athens.Info{Version: "v1.0.1"} }, "its .info: it is of the version \"v1.0.1\""},
		"info that is no JSON":    {func(v *storagetest.Sample) { v.Info = &athens.Info{Version: "v1.0.0", Raw: []byte("<html>")} }, "its .info"},
		"mod that is none":        {func(v *storagetest.Sample) { v.Mod = []byte("<html>") }, "no module line"},
		"zip that is none":        {func(v *storagetest.Sample) { v.Zip = []byte("<html>") }, "not a zip"},
		"zip of another module":   {func(v *storagetest.Sample) { v.Zip = sample("b.test/m", "v1.0.0", "a").Zip }, "outside of"},
		"zip with another hash":   {func(v *storagetest.Sample) { v.H1 = sample("a.test/m", "v1.0.0", "b").H1 }, "the manifest says h1:"},
		"zip that escapes":        {func(v *storagetest.Sample) { v.Zip = zipOf(t, "a.test/m@v1.0.0/../x") }, "not"},
		"zip with two cases":      {func(v *storagetest.Sample) { v.Zip = zipOf(t, "a.test/m@v1.0.0/a", "a.test/m@v1.0.0/A") }, "collides"},
		"large zip with another hash": {func(v *storagetest.Sample) {
			v.Zip = append(zipOf(t, "a.test/m@v1.0.0/"+strings.Repeat("x/", 30)+"a"), make([]byte, 2*small)...)
		}, "zip"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := v
			c.change(&changed)
			d := described{}
			if changed.Info.Raw != nil {
				l := &version{m: v.Module, state: carried, hasZip: true, info: partOf(changed.Info.Raw), mod: partOf(v.Mod), zip: partOf(v.Zip), h1: v.H1}
				d = describe(v)
				d.line, d.entries[0].data = string(l.append(nil)), changed.Info.Raw
			} else {
				d = describe(changed)
			}
			// A good one comes first, and is not stored either.
			first := describe(sample("a.test/a", "v1.0.0", "a"))
			lines := "module a.test/a\n" + first.line + "module a.test/m\n" + d.line
			entries := append(append(first.entries, list("a.test/a", "v1.0.0")), append(d.entries, list("a.test/m", "v1.0.0"))...)
			refuses(t, forge(t, lines, entries...), c.want)
		})
	}
}

// zipOf packs empty files.
func zipOf(t testing.TB, names ...string) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range names {
		_, err := w.Create(name)
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func TestHostileManifest(t *testing.T) {
	good := describe(sample("a.test/m", "v1.0.0", "a")).line
	zero := strings.Repeat("A", 43)
	for name, c := range map[string]struct{ lines, want string }{
		"version alone":        {good, "malformed"},
		"no version":           {"module a.test/m\n", "has no version"},
		"modules out of order": {"module b.test/m\n" + good + "module a.test/m\n" + good, "out of order"},
		"module twice":         {"module a.test/m\n" + good + "module a.test/m\n" + good, "there twice"},
		"version twice":        {"module a.test/m\n" + good + good, "there twice"},
		"versions reordered":   {"module a.test/m\nv1.10.0 -\nv1.9.0 -\n", "out of order"},
		"bad path":             {"module ../etc\nv1.0.0 -\n", "malformed module path"},
		"bad version":          {"module a.test/m\n../v1.0.0 -\n", "not a semantic version"},
		"short version":        {"module a.test/m\nv1 -\n", "not a canonical version"},
		"wrong major":          {"module a.test/m\nv2.0.0 -\n", "should be v0 or v1"},
		"two spaces":           {"module a.test/m\nv1.0.0  -\n", "malformed"},
		"leading zero":         {"module a.test/m\nv1.0.0 01 " + zero + " 1 " + zero + "\n", "malformed"},
		"negative size":        {"module a.test/m\nv1.0.0 -1 " + zero + " 1 " + zero + "\n", "malformed"},
		"huge zip":             {"module a.test/m\nv1.0.0 1 " + zero + " 1 " + zero + " 99999999999 " + zero + " h1:x\n", "more than"},
		"huge info":            {"module a.test/m\nv1.0.0 9999999 " + zero + " 1 " + zero + "\n", "more than"},
		"removed and held":     {"module a.test/m\nv1.0.0 - removed \"x\"\n", "malformed"},
		"unknown mark":         {"module a.test/m\nv1.0.0 - eaten \"x\"\n", "malformed"},
		"raw quote":            {"module a.test/m\nv1.0.0 removed \"x\" \"y\"\n", "malformed"},
		"answer after modules": {"module a.test/m\nv1.0.0 -\nsumdb sum.test/head - " + zero + "\n", "out of order"},
		"answers twice":        {"sumdb sum.test/head - " + zero + "\nsumdb sum.test/head - " + zero + "\n", "there twice"},
		"escaping answer":      {"sumdb sum.test/../../x - " + zero + "\n", "is not the name"},
		"answer in two cases":  {"sumdb sum.test/A - " + zero + "\n", "is not the name"},
		"backslash":            {"sumdb sum.test/a\\b - " + zero + "\n", "is not the name"},
		"late since":           {"sumdb sum.test/head - " + zero + "\nsince 2026\n", "malformed"},
		"no end":               {"module a.test/m\nv1.0.0 -", "end is missing"},
		"long line":            {"module a.test/m\nv1.0.0 - hidden \"" + strings.Repeat("x", 70<<10) + "\"\n", "more than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) { refuses(t, forge(t, c.lines), c.want) })
	}
}

// Whatever is cut off, or changed in a byte, is refused.
func TestDamagedBundles(t *testing.T) {
	good := export(t, few(t), nil)
	for n := range len(good) {
		if n%37 != 0 && n < len(good)-40 {
			continue
		}
		to := storage.NewMemory()
		_, err := importInto(t, to, good[:n], nil)
		require.Error(t, err, "cut off after %d bytes", n)
		flipped := bytes.Clone(good)
		flipped[n] ^= 0x10
		if _, err = importInto(t, to, flipped, nil); err == nil {
			assert.Equal(t, names(tree(t, few(t))), names(tree(t, to)), "byte %d means nothing", n)
			continue
		}
		assert.Empty(t, tree(t, to))
	}
	refuses(t, nil, "no bundle")
	refuses(t, bytes.Repeat([]byte("x"), 1000), "no bundle")
}

func TestFormatOfTheFuture(t *testing.T) {
	good := forge(t, "")
	end := good[len(good)-endLength:]
	for _, c := range []struct{ note, manifest, want string }{
		{"athens bundle 2\nwhatever\n", "", "newer format"},
		{"hello\n", "", `does not begin with "athens bundle 1"`},
		{string(noteText([]byte("athens bundle 2\n"))), "athens bundle 2\n", "newer format"},
		{string(noteText([]byte("athens bundle 1\n"))), "athens bundle 1\nmodule x\n", "not the one of which"},
		{strings.Repeat("x", maxNote+1), "", "more than"},
	} {
		b := frameOf(t, c.note, c.manifest)
		e := bytes.Clone(end)
		binary.LittleEndian.PutUint64(e[16:], 0)
		refuses(t, append(b, e...), c.want)
	}
	binary.LittleEndian.PutUint64(end[16:], 1<<60)
	refuses(t, good, "behind the file's end")
}

// frameOf makes a frame with a note and a manifest.
func frameOf(t testing.TB, note, manifest string) []byte {
	var b bytes.Buffer
	w, err := newWriter(&b)
	require.NoError(t, err)
	require.NoError(t, w.file(noteName, int64(len(note)), strings.NewReader(note)))
	require.NoError(t, w.file(manifestName, int64(len(manifest)), strings.NewReader(manifest)))
	require.NoError(t, errors.Join(w.tar.Close(), w.z.Close()))
	return b.Bytes()
}

// A manifest that claims to be large is refused before it is read, and one that is large when it
// has reached its bound. So is a frame that wants a large window.
func TestHugeManifest(t *testing.T) {
	b := forge(t, "module a.test/m\n"+strings.Repeat("x", 1<<20)+"\n")
	_, err := importInto(t, storage.NewMemory(), b, &ImportOptions{MaxManifestBytes: 1 << 19})
	assert.ErrorContains(t, err, ".athens/manifest has 1048609 bytes, more than 524288")
	var wide bytes.Buffer
	z, err := zstd.NewWriter(&wide, zstd.WithWindowSize(64<<20), zstd.WithEncoderConcurrency(1))
	require.NoError(t, err)
	for range 20 {
		_, err = z.Write(make([]byte, 1<<20))
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	end := forge(t, "")
	end = end[len(end)-endLength:]
	binary.LittleEndian.PutUint64(end[16:], 0)
	refuses(t, append(wide.Bytes(), end...), "can't be read")
}

// A full disk stops an import, and the same bundle is imported once there is room.
func TestFullDisk(t *testing.T) {
	from := filled(t)
	b := export(t, from, nil)
	for _, op := range []string{"put", "commit", "stage", "write"} {
		to := athenstest.NewStore(t)
		to.Fail(op, "full")
		_, err := importInto(t, to, b, &ImportOptions{Workers: 2})
		if op != "write" {
			require.ErrorIs(t, err, syscall.ENOSPC, op)
		}
		to.Fail(op, "")
		_, err = importInto(t, to, b, nil)
		require.NoError(t, err)
		assert.Equal(t, tree(t, from), tree(t, to.Store))
	}
}

// A canceled import ends with that, and leaves what a second one completes.
func TestCanceled(t *testing.T) {
	from, to := filled(t), storage.NewMemory()
	b := export(t, from, nil)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Import(ctx, to, bytes.NewReader(b), int64(len(b)), &ImportOptions{Workers: 1, Progress: func(p Progress) {
		if p.Verified && p.Versions == 2 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	_, err = importInto(t, to, b, nil)
	require.NoError(t, err)
	assert.Equal(t, tree(t, from), tree(t, to))
	_, err = Export(ctx, from, &bytes.Buffer{}, nil)
	assert.ErrorIs(t, err, context.Canceled)
}

func FuzzManifest(f *testing.F) {
	b := export(f, few(f), nil)
	m, err := ReadManifest(bytes.NewReader(b), int64(len(b)), nil)
	require.NoError(f, err)
	f.Add(m.Text())
	f.Add([]byte(firstLine + "\nsince 2026-01-01T00:00:00Z\nsumdb sum.test/head - " + strings.Repeat("A", 43) + "\nmodule a.test/m\nv1.0.0 - zip hidden \"\\n\"\nv1.0.1 restored \"\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := ParseManifest(text)
		if err != nil {
			return
		}
		// What is accepted has one spelling: written again, it is the same.
		again := []byte(firstLine + "\n")
		if rest, ok := bytes.CutPrefix(text, append(bytes.Clone(again), "since "...)); ok {
			line, _, _ := bytes.Cut(rest, []byte("\n"))
			again = fmt.Appendf(again, "since %s\n", line)
		}
		path := ""
		for line, err := range m.lines() {
			require.NoError(t, err)
			switch l := line.(type) {
			case *answer:
				again = l.append(again)
			case *version:
				if l.m.Path != path {
					path = l.m.Path
					again = fmt.Appendf(again, "module %s\n", path)
				}
				again = l.append(again)
			}
		}
		assert.Equal(t, string(text), string(again))
	})
}

// FuzzBundle changes a bundle where it hurts: unpacked. Only one that is good is stored.
func FuzzBundle(f *testing.F) {
	good := describe(sample("a.test/m", "v1.0.0", "a"))
	f.Add("module a.test/m\n"+good.line, "a.test/m/@v/v1.0.0.info", good.entries[0].data, good.entries[1].data, good.entries[2].data)
	f.Add("module a.test/m\n"+good.line, "../x", good.entries[0].data, good.entries[1].data, good.entries[2].data)
	f.Fuzz(func(t *testing.T, lines, name string, info, mod, zip []byte) {
		if strings.ContainsRune(name, 0) || name == "" || len(name) > 200 {
			return
		}
		b := forge(t, lines, entry{tar.Header{Name: name}, info}, entry{tar.Header{Name: "a.test/m/@v/v1.0.0.mod"}, mod},
			entry{tar.Header{Name: "a.test/m/@v/v1.0.0.zip"}, zip}, list("a.test/m", "v1.0.0"))
		to := storage.NewMemory()
		_, err := importInto(t, to, b, nil)
		if stored := names(tree(t, to)); err != nil && len(stored) > 0 {
			t.Errorf("%v, but %q is stored", err, stored)
		} else if err == nil && len(stored) > 0 && lines != "module a.test/m\n"+good.line && !slices.Equal(stored, []string{"a.test/m@v1.0.0 info", "a.test/m@v1.0.0 mod", "a.test/m@v1.0.0 zip"}) {
			t.Logf("stored %q", stored)
		}
	})
}
