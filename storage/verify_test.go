package storage_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// a medium is a file system with a store in dir.
type medium struct {
	afero.Fs
	dir string
}

// eachMedium runs test on disk and in memory.
func eachMedium(t *testing.T, test func(t *testing.T, m medium)) {
	t.Run("disk", func(t *testing.T) { test(t, medium{afero.NewOsFs(), t.TempDir()}) })
	t.Run("memory", func(t *testing.T) { test(t, medium{afero.NewMemMapFs(), "/store"}) })
}

func (m medium) open(t testing.TB) *storage.Store {
	t.Helper()
	s, err := storage.New(m.Fs, m.dir, nil)
	require.NoError(t, err)
	return s
}

// of is the name of a file of a sample.
func (m medium) of(a storagetest.Sample, ext string) string {
	return m.dir + "/" + a.Module.Path + "/@v/" + a.Module.Version + ext
}

func (m medium) read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := afero.ReadFile(m.Fs, name)
	require.NoError(t, err)
	return data
}

func (m medium) write(t testing.TB, name string, data []byte) {
	t.Helper()
	require.NoError(t, m.MkdirAll(path.Dir(name), 0o777))
	require.NoError(t, afero.WriteFile(m.Fs, name, data, 0o666))
}

// problems verifies and returns "module@version file kind" of each problem, with
// what became of it.
func problems(t testing.TB, s *storage.Store, o *storage.VerifyOptions) []string {
	t.Helper()
	var found []string
	for c, err := range s.Verify(t.Context(), o) {
		require.NoError(t, err)
		for _, p := range c.Problems {
			require.Error(t, p.Err)
			line := p.File + " " + string(p.Kind)
			if p.Moved != "" {
				line += " moved"
			}
			if p.Repaired {
				line += " mended"
			}
			found = append(found, line)
		}
	}
	return found
}

// ways are how a file is damaged; other is the same file of another version.
var ways = map[string]func(data, other []byte) []byte{
	"flipped":   func(data, _ []byte) []byte { data[len(data)/2] ^= 0x10; return data },
	"truncated": func(data, _ []byte) []byte { return data[:len(data)-1] },
	"half":      func(data, _ []byte) []byte { return data[:len(data)/2] },
	"longer":    func(data, _ []byte) []byte { return append(data, '\n') },
	"zeroed":    func(data, _ []byte) []byte { return make([]byte, len(data)) },
	"empty":     func([]byte, []byte) []byte { return nil },
	"swapped":   func(_, other []byte) []byte { return other },
	"gone":      nil,
}

// TestVerify damages each file of a version in each way. Verify finds it and
// changes nothing; what is quarantined is a miss at once, for a store that has read
// it before, too; the moved tag is a conflict, and the same is stored.
func TestVerify(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		a, other := storagetest.NewSample("example.com/mod", "v1.0.0", "a"), storagetest.NewSample("example.com/mod", "v1.1.0", "other")
		require.NoError(t, a.Store(t.Context(), s))
		require.NoError(t, other.Store(t.Context(), s))
		for _, ext := range []string{".info", ".mod", ".zip", ".ziphash", ".record"} {
			for way, damage := range ways {
				if ext == ".ziphash" && way == "longer" {
					continue // a line end is allowed there
				}
				t.Run(ext+" "+way, func(t *testing.T) {
					require.Empty(t, problems(t, s, nil))
					require.NoError(t, a.Whole(t.Context(), s))
					name := m.of(a, ext)
					was := m.read(t, name)
					if kind := "damaged"; damage == nil {
						require.NoError(t, m.Remove(name))
						if ext == ".record" {
							require.Empty(t, problems(t, s, nil), "nothing is left to say that there was one")
							m.write(t, name, was)
							return
						}
						kind = "missing"
						require.Equal(t, []string{"v1.0.0" + ext + " " + kind}, withoutList(problems(t, s, nil)))
					} else {
						bad := damage(was, m.read(t, m.of(other, ext)))
						m.write(t, name, bad)
						require.Equal(t, []string{"v1.0.0" + ext + " " + kind}, problems(t, s, nil))
						require.Equal(t, len(bad), len(m.read(t, name)))
					}
					quarantined(t, m, s, a, ext, damage != nil)
				})
			}
		}
		require.NoError(t, other.Whole(t.Context(), s))
	})
}

// withoutList leaves out that the list is wrong, too.
func withoutList(found []string) []string {
	var rest []string
	for _, line := range found {
		if !strings.HasPrefix(line, "list ") {
			rest = append(rest, line)
		}
	}
	return rest
}

// quarantined lets a file that is damaged or gone be quarantined, and brings the
// version back.
func quarantined(t *testing.T, m medium, s *storage.Store, a storagetest.Sample, ext string, there bool) {
	t.Helper()
	want := "v1.0.0" + ext + " missing"
	if there {
		want = "v1.0.0" + ext + " damaged moved"
	}
	restored := ext == ".info" || ext == ".ziphash"
	if restored {
		want += " mended"
	}
	require.Equal(t, []string{want}, withoutList(problems(t, s, &storage.VerifyOptions{Quarantine: true})))
	moved := storagetest.NewSample("example.com/mod", "v1.0.0", "b")
	var conflict *athens.ConflictError
	for _, s := range []*storage.Store{s, m.open(t)} {
		switch {
		case restored:
			require.NoError(t, a.Whole(t.Context(), s))
			continue
		case ext == ".record":
			require.NoError(t, a.Put(t.Context(), s))
			continue
		case ext == ".mod":
			missing(t, s, a.Module, athens.ModFile)
			versions, err := s.Versions(t.Context(), a.Module.Path)
			require.NoError(t, err)
			require.Equal(t, []string{"v1.1.0"}, versions)
			require.ErrorIs(t, a.Commit(t.Context(), s), fs.ErrNotExist)
		case ext == ".zip":
			missing(t, s, a.Module, athens.ZipFile)
			require.ErrorAs(t, moved.Commit(t.Context(), s), &conflict)
			require.Equal(t, athens.ConflictError{Module: a.Module, File: athens.ZipFile, Held: a.H1, Got: moved.H1}, *conflict)
			missing(t, s, a.Module, athens.ZipFile)
		}
		require.ErrorAs(t, moved.Put(t.Context(), s), &conflict)
		info := *a.Info
		info.Time = info.Time.Add(1)
		require.ErrorAs(t, s.Put(t.Context(), a.Module, &info, a.Mod), &conflict)
		require.Equal(t, athens.InfoFile, conflict.File)
	}
	require.NoError(t, a.Store(t.Context(), s))
	require.NoError(t, a.Whole(t.Context(), s))
	require.Empty(t, problems(t, s, nil))
}

func missing(t *testing.T, s *storage.Store, m module.Version, f athens.File) {
	t.Helper()
	_, err := s.Open(t.Context(), m, f)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestVerifyEveryByte flips a bit of each byte of each file, and each is found.
func TestVerifyEveryByte(t *testing.T) {
	m := medium{afero.NewMemMapFs(), "/store"}
	s := m.open(t)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	require.NoError(t, a.Store(t.Context(), s))
	n := 0
	for _, ext := range []string{".info", ".mod", ".zip", ".ziphash", ".record"} {
		was := m.read(t, m.of(a, ext))
		for at := range was {
			bad := append([]byte(nil), was...)
			bad[at] ^= 1 << (at % 8)
			m.write(t, m.of(a, ext), bad)
			require.Equal(t, []string{"v1.0.0" + ext + " damaged"}, problems(t, s, nil), "byte %d", at)
			n++
		}
		m.write(t, m.of(a, ext), was)
	}
	require.Empty(t, problems(t, s, nil))
	t.Logf("%d bytes", n)
}

// TestVerifyAdopted damages what has no record, as in a go command's cache. What
// changes builds is found all the same, where there is a zip.
func TestVerifyAdopted(t *testing.T) {
	m := medium{afero.NewMemMapFs(), "/store"}
	s := m.open(t)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	require.NoError(t, a.Store(t.Context(), s))
	require.NoError(t, m.Remove(m.of(a, ".record")))
	for c, err := range s.Verify(t.Context(), nil) {
		require.NoError(t, err)
		assert.Empty(t, c.Problems)
		assert.False(t, c.Recorded)
	}
	for ext, blamed := range map[string]string{".mod": ".mod", ".zip": ".zip", ".ziphash": ".zip"} {
		was := m.read(t, m.of(a, ext))
		for at := range was {
			bad := append([]byte(nil), was...)
			bad[at] ^= 1 << (at % 8)
			m.write(t, m.of(a, ext), bad)
			found := problems(t, s, nil)
			switch {
			case len(found) == 0 && ext == ".zip":
				// What is not of the content, such as a file's time: the
				// go command makes the same of it.
				h1, err := modcheck.ZipAlone(bytes.NewReader(bad), int64(len(bad)), a.Module, 1<<20)
				require.NoError(t, err)
				require.Equal(t, a.H1, h1, "byte %d", at)
			case ext == ".ziphash": // is none any more, or of another zip
				require.Len(t, found, 1)
				require.Contains(t, []string{"v1.0.0.ziphash damaged", "v1.0.0.zip damaged"}, found[0])
			default:
				require.Equal(t, []string{"v1.0.0" + blamed + " damaged"}, found, "byte %d", at)
			}
		}
		m.write(t, m.of(a, ext), was)
	}
	m.write(t, m.of(a, ".info"), []byte(`{"Version":"v1.0.1"}`))
	require.Equal(t, []string{"v1.0.0.info damaged"}, problems(t, s, nil))

	// A zip that is quarantined is what .ziphash says, also without a record.
	m.write(t, m.of(a, ".zip"), a.Zip[:len(a.Zip)-1])
	require.Equal(t, []string{"v1.0.0.info damaged moved", "v1.0.0.zip damaged moved"}, problems(t, s, &storage.VerifyOptions{Quarantine: true}))
	var conflict *athens.ConflictError
	require.ErrorAs(t, storagetest.NewSample("example.com/mod", "v1.0.0", "b").Commit(t.Context(), s), &conflict)
	require.NoError(t, a.Store(t.Context(), s))
	require.NoError(t, a.Whole(t.Context(), s))
}

// What has no record is given one, if nothing is wrong with it.
func TestVerifyRecords(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		whole, held, bad := storagetest.NewSample("example.com/mod", "v1.0.0", "a"), storagetest.NewSample("example.com/mod", "v1.1.0", "b"), storagetest.NewSample("example.com/mod", "v1.2.0", "c")
		require.NoError(t, whole.Store(t.Context(), s))
		require.NoError(t, held.Put(t.Context(), s))
		require.NoError(t, bad.Store(t.Context(), s))
		want := map[string]string{}
		for _, a := range []storagetest.Sample{whole, held, bad} {
			want[m.of(a, ".record")] = string(m.read(t, m.of(a, ".record")))
			require.NoError(t, m.Remove(m.of(a, ".record")))
		}
		m.write(t, m.of(bad, ".zip"), []byte("rotten"))
		for range 2 {
			for c, err := range s.Verify(t.Context(), &storage.VerifyOptions{Record: true}) {
				require.NoError(t, err)
				assert.Equal(t, c.Module == whole.Module || c.Module == held.Module, c.Recorded, c.Module)
			}
		}
		for _, a := range []storagetest.Sample{whole, held} {
			assert.Equal(t, want[m.of(a, ".record")], string(m.read(t, m.of(a, ".record"))))
		}
		_, err := m.Stat(m.of(bad, ".record"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		m.write(t, m.of(held, ".mod"), []byte("module example.com/mof\n"))
		assert.Equal(t, []string{"v1.1.0.mod damaged", "v1.2.0.zip damaged"}, sorted(problems(t, s, nil)))
	})
}

func sorted(lines []string) []string {
	slices.Sort(lines)
	return lines
}

func TestVerifyOtherFiles(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		a := storagetest.NewSample("example.com/Some/mod", "v1.0.0", "a")
		require.NoError(t, a.Store(t.Context(), s))
		dir := m.dir + "/example.com/!some/mod/@v/"
		for _, name := range []string{"v1.0.0.lock", "v1.0.0.partial", "main.info", "v1.9.0.info"} {
			m.write(t, dir+name, []byte("a go command's"))
		}
		require.Empty(t, problems(t, s, nil))
		m.write(t, dir+"v1.2.0.zip", a.Zip)
		m.write(t, dir+"v1.0.0.zip123.tmp", []byte("x"))
		m.write(t, dir+"list", []byte("v1.0.0\nv9.0.0\n"))
		m.write(t, m.dir+"/.athens/stage/what", []byte("x"))
		strays := []string{"v1.2.0.zip stray", "v1.0.0.zip123.tmp stray", ".athens/stage/what stray"}
		assert.ElementsMatch(t, append([]string{"list damaged"}, strays...), problems(t, s, nil))
		assert.ElementsMatch(t, append([]string{"list damaged mended"}, strays...), problems(t, s, &storage.VerifyOptions{Quarantine: true}))
		assert.Equal(t, "v1.0.0\n", string(m.read(t, dir+"list")))
		assert.ElementsMatch(t, strays, problems(t, s, nil))
		for c, err := range s.Verify(t.Context(), nil) {
			require.NoError(t, err)
			assert.False(t, c.Damaged(), c)
		}
	})
}

// A .mod that is damaged is no reason to say that the source has changed.
func TestPutBesideDamaged(t *testing.T) {
	m := medium{afero.NewMemMapFs(), "/store"}
	s := m.open(t)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	require.NoError(t, a.Put(t.Context(), s))
	m.write(t, m.of(a, ".mod"), []byte("module example.com/mof\n"))
	err := a.Put(t.Context(), s)
	require.ErrorContains(t, err, "damaged")
	var conflict *athens.ConflictError
	require.NotErrorAs(t, err, &conflict)
	damaged, err := s.Recheck(t.Context(), a.Module)
	require.NoError(t, err)
	require.True(t, damaged)
	require.NoError(t, a.Store(t.Context(), s))
}

// What is quarantined again does not take the place of the first.
func TestQuarantineTwice(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
		for _, bad := range []string{"first", "second", "third"} {
			require.NoError(t, a.Store(t.Context(), s))
			m.write(t, m.of(a, ".zip"), []byte(bad))
			require.Len(t, problems(t, s, &storage.VerifyOptions{Quarantine: true}), 1)
		}
		for name, want := range map[string]string{"": "first", ".2": "second", ".3": "third"} {
			assert.Equal(t, want, string(m.read(t, m.dir+"/.athens/quarantine/example.com/mod/@v/v1.0.0.zip"+name)))
		}
		// A body that is being sent goes on.
		require.NoError(t, a.Store(t.Context(), s))
		obj, err := s.Open(t.Context(), a.Module, athens.ZipFile)
		require.NoError(t, err)
		_, err = s.Recheck(t.Context(), a.Module)
		require.NoError(t, err)
		body, err := io.ReadAll(obj.Body)
		require.NoError(t, errors.Join(err, obj.Body.Close()))
		assert.Equal(t, a.Zip, body)
	})
}

// However a walk ends, no goroutine of it is left: the bubble would not end.
func TestVerifyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := storage.NewMemory()
		var bytes int64
		for i := range 20 {
			a := storagetest.NewSample("example.com/mod"+string(rune('a'+i)), "v1.0.0", "")
			require.NoError(t, a.Store(t.Context(), s))
		}
		for range s.Verify(t.Context(), nil) {
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		var errs []error
		for _, err := range s.Verify(ctx, &storage.VerifyOptions{Workers: 5}) {
			cancel()
			errs = append(errs, err)
		}
		require.Equal(t, []error{nil, context.Canceled}, errs)
		for _, o := range []storage.VerifyOptions{{Workers: -1}, {BytesPerSecond: -1}} {
			for _, err := range s.Verify(t.Context(), &o) {
				require.ErrorContains(t, err, "negative")
			}
		}
		start := time.Now()
		for c, err := range s.Verify(t.Context(), &storage.VerifyOptions{BytesPerSecond: 1000, Workers: 4}) {
			require.NoError(t, err)
			bytes += c.Bytes
		}
		took := time.Since(start).Seconds()
		assert.Greater(t, took, float64(bytes)/1000-1, "%d bytes", bytes)
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		var last error
		for _, err := range s.Verify(ctx, &storage.VerifyOptions{BytesPerSecond: 1}) {
			last = err
		}
		require.ErrorIs(t, last, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

// What a crash can leave of a list is no damage: one that lacks versions, the last one or
// all, is outdated, and a version that never came to be held needs no list. Anything else
// is.
func TestVerifyLists(t *testing.T) {
	m := medium{afero.NewMemMapFs(), "/store"}
	m.write(t, "/store/example.com/half/@v/v1.0.0.info", []byte(`{"Version":"v1.0.0"}`))
	s := m.open(t)
	require.Empty(t, problems(t, s, nil))
	for _, v := range []string{"v1.0.0", "v1.1.0", "v1.10.0"} {
		require.NoError(t, storagetest.NewSample("example.com/mod", v, "").Put(t.Context(), s))
	}
	list := "/store/example.com/mod/@v/list"
	const right = "v1.0.0\nv1.1.0\nv1.10.0\n"
	for content, kind := range map[string]storage.ProblemKind{
		"v1.0.0\nv1.1.0\n": storage.ProblemOutdated, "v1.10.0\n": storage.ProblemOutdated, "": storage.ProblemOutdated,
		"v1.0.0\nv1.1.0\nv1.1": storage.ProblemDamaged, "v1.1.0\nv1.0.0\n": storage.ProblemDamaged, right + right: storage.ProblemDamaged,
		"v1.0.0\nv1.2.0\n": storage.ProblemDamaged, "\n": storage.ProblemDamaged, "\x00\x00\x00": storage.ProblemDamaged, "v1.1\n": storage.ProblemDamaged,
	} {
		m.write(t, list, []byte(content))
		for c, err := range s.Verify(t.Context(), nil) {
			require.NoError(t, err)
			if c.Module.Version == "" && c.Module.Path == "example.com/mod" {
				require.Len(t, c.Problems, 1, "%q", content)
				assert.Equal(t, kind, c.Problems[0].Kind, "%q", content)
				assert.Equal(t, kind == storage.ProblemDamaged, c.Damaged(), "%q", content)
			}
		}
		require.Len(t, problems(t, s, &storage.VerifyOptions{Quarantine: true}), 1)
		require.Equal(t, right, string(m.read(t, list)))
	}
}
