package storage_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/spf13/afero"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// upstream is a source that has samples.
type upstream struct {
	athens.Fetcher // nil: nothing else is asked of it
	samples        []storagetest.Sample
	down           error
	asked          int
}

func (u *upstream) Fetch(_ context.Context, m module.Version) (athens.Content, error) {
	u.asked++
	for _, a := range u.samples {
		if a.Module == m {
			return &offer{a}, u.down
		}
	}
	return nil, &athens.MissingError{Path: m.Path, Query: m.Version}
}

type offer struct{ storagetest.Sample }

func (o *offer) Info(context.Context) (*athens.Info, error) { return o.Sample.Info, nil }
func (o *offer) Mod(context.Context) ([]byte, error)        { return o.Sample.Mod, nil }
func (o *offer) Zip(_ context.Context, w io.Writer) error {
	_, err := w.Write(o.Sample.Zip)
	return err
}

// repair are the options that ask u for everything.
func (u *upstream) repair() *storage.VerifyOptions {
	return &storage.VerifyOptions{Source: func(module.Version) athens.Fetcher { return u }}
}

// TestRepair damages each file in each way, and has it repaired from a source that
// has the same, and from one whose tag has moved.
func TestRepair(t *testing.T) {
	eachMedium(t, func(t *testing.T, m medium) {
		s := m.open(t)
		a, other := storagetest.NewSample("example.com/mod", "v1.0.0", "a"), storagetest.NewSample("example.com/mod", "v1.1.0", "other")
		require.NoError(t, a.Store(t.Context(), s))
		require.NoError(t, other.Store(t.Context(), s))
		good := &upstream{samples: []storagetest.Sample{a, other}}
		moved := &upstream{samples: []storagetest.Sample{storagetest.NewSample("example.com/mod", "v1.0.0", "b")}}
		for _, ext := range []string{".info", ".mod", ".zip", ".ziphash", ".record"} {
			for way, damage := range ways {
				if damage == nil && ext == ".record" || way == "longer" && ext == ".ziphash" {
					continue
				}
				t.Run(ext+" "+way, func(t *testing.T) {
					name := m.of(a, ext)
					what := "v1.0.0" + ext + " damaged moved"
					if damage == nil {
						require.NoError(t, m.Remove(name))
						what = "v1.0.0" + ext + " missing"
					} else {
						m.write(t, name, damage(m.read(t, name), m.read(t, m.of(other, ext))))
					}
					if ext == ".mod" || ext == ".zip" || ext == ".record" {
						assert.Equal(t, []string{what}, withoutList(problems(t, s, moved.repair())))
						if what = "v1.0.0" + ext + " missing"; ext == ".record" {
							return // nothing says any more what it was
						}
					}
					assert.Equal(t, []string{what + " mended"}, withoutList(problems(t, s, good.repair())))
					require.NoError(t, a.Whole(t.Context(), s))
					require.Empty(t, problems(t, s, nil))
				})
				require.NoError(t, a.Put(t.Context(), m.open(t))) // makes a record
			}
		}
		require.NoError(t, other.Whole(t.Context(), s))
	})
}

// TestRepairSays wants the reason why something could not be repaired.
func TestRepairSays(t *testing.T) {
	a, b := storagetest.NewSample("example.com/mod", "v1.0.0", "a"), storagetest.NewSample("example.com/mod", "v1.0.0", "b")
	broken, foreign := a, a
	broken.Zip, foreign.Info = a.Zip[:99], storagetest.NewSample("example.com/mod", "v1.0.1", "a").Info
	var missing *athens.MissingError
	var invalid *athens.InvalidError
	var conflict *athens.ConflictError
	down := errors.New("down")
	for name, c := range map[string]struct {
		u    *upstream
		want func(t *testing.T, err error)
	}{
		"missing":       {&upstream{}, func(t *testing.T, err error) { require.ErrorAs(t, err, &missing) }},
		"down":          {&upstream{samples: []storagetest.Sample{a}, down: down}, func(t *testing.T, err error) { require.ErrorIs(t, err, down) }},
		"broken":        {&upstream{samples: []storagetest.Sample{broken}}, func(t *testing.T, err error) { require.ErrorAs(t, err, &invalid) }},
		"other version": {&upstream{samples: []storagetest.Sample{foreign}}, func(t *testing.T, err error) { require.ErrorAs(t, err, &invalid) }},
		"moved":         {&upstream{samples: []storagetest.Sample{b}}, func(t *testing.T, err error) { require.ErrorAs(t, err, &conflict) }},
	} {
		t.Run(name, func(t *testing.T) {
			m := medium{afero.NewMemMapFs(), "/store"}
			s := m.open(t)
			require.NoError(t, a.Store(t.Context(), s))
			m.write(t, m.of(a, ".zip"), []byte("rotten"))
			n := 0
			for checked, err := range s.Verify(t.Context(), c.u.repair()) {
				require.NoError(t, err)
				for _, p := range checked.Problems {
					n++
					assert.True(t, checked.Damaged())
					assert.False(t, p.Repaired)
					assert.Equal(t, ".athens/quarantine/example.com/mod/@v/v1.0.0.zip", p.Moved)
					c.want(t, p.Failed)
				}
			}
			require.Equal(t, 1, n)
			require.Equal(t, 1, c.u.asked)
			require.NoError(t, a.Held(t.Context(), s))
		})
	}
}

// What has no record is believed of a source only as far as it agrees with what is
// sound: the .info, and the zip with its .ziphash.
func TestRepairAdopted(t *testing.T) {
	a, b := storagetest.NewSample("example.com/mod", "v1.0.0", "a"), storagetest.NewSample("example.com/mod", "v1.0.0", "b")
	sly := b
	sly.Info = a.Info // its .mod and zip are of another commit
	for ext, want := range map[string]string{".mod": "v1.0.0.mod", ".zip": "v1.0.0.zip"} {
		t.Run(ext, func(t *testing.T) {
			m := medium{afero.NewMemMapFs(), "/store"}
			s := m.open(t)
			require.NoError(t, a.Store(t.Context(), s))
			require.NoError(t, m.Remove(m.of(a, ".record")))
			s = m.open(t)
			data := m.read(t, m.of(a, ext))
			data[len(data)/2] ^= 1
			m.write(t, m.of(a, ext), data)
			liar := &upstream{samples: []storagetest.Sample{sly}}
			require.Equal(t, []string{want + " damaged moved"}, withoutList(problems(t, s, liar.repair())))
			good := &upstream{samples: []storagetest.Sample{a}}
			require.Equal(t, []string{want + " missing mended"}, withoutList(problems(t, s, good.repair())))
			require.NoError(t, a.Whole(t.Context(), s))
			require.Empty(t, problems(t, s, nil))
		})
	}
}

// Nobody is asked about what is sound, nor about what Source keeps private.
func TestRepairAsksForNoMore(t *testing.T) {
	m := medium{afero.NewMemMapFs(), "/store"}
	s := m.open(t)
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "a")
	require.NoError(t, a.Store(t.Context(), s))
	u := &upstream{samples: []storagetest.Sample{a}}
	require.Empty(t, problems(t, s, u.repair()))
	require.NoError(t, m.Remove(m.of(a, ".info")))
	require.Equal(t, []string{"v1.0.0.info missing mended"}, problems(t, s, u.repair()))
	assert.Zero(t, u.asked)
	m.write(t, m.of(a, ".zip"), []byte("rotten"))
	nobody := &storage.VerifyOptions{Source: func(module.Version) athens.Fetcher { return nil }}
	require.Equal(t, []string{"v1.0.0.zip damaged moved"}, problems(t, s, nobody))
	assert.Zero(t, u.asked)
}
