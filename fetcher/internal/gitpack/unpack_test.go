package gitpack

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher/internal/budget"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/internal/packtest"
)

var generous = Limits{ObjectBytes: 1 << 30, MemoryBytes: 32 << 20, LargeBytes: 8 << 20, ChainBytes: 1 << 30}

// unpackBytes unpacks a pack into a folder and returns its index, if it is kept.
func unpackBytes(t testing.TB, job *budget.Job, dir string, pack []byte, limits Limits, held Bases) ([]byte, *unpacker, error) {
	name := filepath.Join(t.TempDir(), "pack")
	require.NoError(t, os.WriteFile(name, pack, 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	p, err := Unpack(job, f, int64(len(pack)), dir, held, limits)
	if err != nil {
		return nil, nil, err
	}
	require.NoError(t, p.WriteIndex(name+".idx"))
	index, err := os.ReadFile(name + ".idx")
	require.NoError(t, err)
	return index, p.u, nil
}

// chained makes a repository whose pack has long chains of deltas.
func chained(t testing.TB) (dir string, pack, index []byte) {
	script := &strings.Builder{}
	script.WriteString("# Long chains.\nrepo git.test/chained\nwrite go.mod \"module git.test/chained\\n\"\n")
	for i := range 30 {
		fmt.Fprintf(script, "write a.txt \"%s%d%s\"\ncommit 2022-01-%02dT10:00:00Z Day\ntag v1.%d.0\n",
			strings.Repeat("The same again and again. ", 40), i, fmt.Sprintf("%x", sha1.Sum([]byte{byte(i)})), i+1, i)
	}
	repo := modtest.NewRepo(t, script.String())
	git := func(stdin string, args ...string) []byte {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Stdin = repo.Dir(), strings.NewReader(stdin)
		out, err := cmd.Output()
		require.NoError(t, err)
		return out
	}
	pack = git("", "pack-objects", "--revs", "--all", "--stdout", "--delta-base-offset", "--depth=40", "--no-reuse-delta", "-q")
	name := filepath.Join(t.TempDir(), "p.pack")
	require.NoError(t, os.WriteFile(name, pack, 0o600))
	git("", "index-pack", name)
	index, err := os.ReadFile(strings.TrimSuffix(name, "pack") + "idx")
	require.NoError(t, err)
	return repo.Dir(), pack, index
}

func TestUnpackMakesGitsIndex(t *testing.T) {
	_, pack, want := chained(t)
	tight := generous
	tight.MemoryBytes = 0
	for name, limits := range map[string]Limits{"with bases kept": generous, "with bases made again": tight} {
		disk := gauge{limit: 1 << 40}
		limits.Disk = disk.add
		got, _, err := unpackBytes(t, nil, t.TempDir(), pack, limits, nil)
		require.NoError(t, err, name)
		assert.True(t, bytes.Equal(want, got), name)
		assert.LessOrEqual(t, disk.used, int64(fileBytes+2*len(got)), "%s: no more than the index", name)
	}
}

// TestUnpackApart takes for large what is not, and takes a pack apart.
func TestUnpackApart(t *testing.T) {
	repo, pack, _ := chained(t)
	original := openObjects(repo)
	defer original.Close()
	small := generous
	small.LargeBytes = 100
	for name, held := range map[string]Bases{"large ones": nil, "all": held{original}} {
		dir := t.TempDir()
		folder := filepath.Join(dir, "objects", "pack")
		require.NoError(t, os.MkdirAll(folder, 0o777))
		index, u, err := unpackBytes(t, nil, filepath.Dir(folder), pack, small, held)
		require.NoError(t, err, name)
		if held == nil {
			base := filepath.Join(folder, fmt.Sprintf("pack-%x", u.packSum))
			require.NoError(t, os.WriteFile(base+".pack", pack, 0o600))
			require.NoError(t, os.WriteFile(base+".idx", index, 0o600))
		}
		singles := 0
		got := openObjects(dir)
		defer got.Close()
		for _, e := range u.list {
			if e.single {
				singles++
			}
			want, err := original.EncodedObject(plumbing.AnyObject, e.hash)
			require.NoError(t, err, name)
			obj, err := got.EncodedObject(e.kind, e.hash)
			require.NoError(t, err, name)
			assert.Equal(t, contentOf(t, want), contentOf(t, obj), name)
		}
		assert.NotZero(t, singles, name)
		left, err := filepath.Glob(filepath.Join(dir, "objects", "*-*"))
		require.NoError(t, err)
		assert.Empty(t, left, "%s: temporary files", name)
	}
}

func openObjects(dir string) *filesystem.Storage {
	return filesystem.NewStorageWithOptions(osfs.New(dir), cache.NewObjectLRU(8<<20), filesystem.Options{KeepDescriptors: true})
}

// held are the objects of a storage as bases.
type held struct{ *filesystem.Storage }

func (h held) Base(hash plumbing.Hash) (plumbing.ObjectType, int64, io.ReadCloser, error) {
	obj, err := h.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return 0, 0, nil, err
	}
	rd, err := obj.Reader()
	return obj.Type(), obj.Size(), rd, err
}

func contentOf(t testing.TB, obj plumbing.EncodedObject) string {
	rd, err := obj.Reader()
	require.NoError(t, err)
	defer rd.Close()
	data, err := io.ReadAll(rd)
	require.NoError(t, err)
	return string(data)
}

// hostilePacks are packs to refuse, under small limits.
func hostilePacks() map[string]func(*packtest.Maker) []byte {
	block := make([]byte, 1<<16)
	return map[string]func(*packtest.Maker) []byte{
		"size too small": func(p *packtest.Maker) []byte { p.Add(packtest.Blob, 3, []byte("four"), 0); return p.Pack() },
		"size too large": func(p *packtest.Maker) []byte { p.Add(packtest.Blob, 5, []byte("four"), 0); return p.Pack() },
		"size of all there is": func(p *packtest.Maker) []byte {
			p.Add(packtest.Blob, 1<<62, []byte("four"), 0)
			return p.Pack()
		},
		"more objects than there are": func(p *packtest.Maker) []byte { return p.PackOf(1000) },
		"too many objects":            func(p *packtest.Maker) []byte { return p.PackOf(1 << 31) },
		"delta bomb": func(p *packtest.Maker) []byte {
			p.Add(packtest.Blob, len(block), block, 0)
			d := packtest.Bomb(1 << 10)
			p.Add(packtest.OffsetDelta, len(d), d, 1)
			return p.Pack()
		},
		"many large deltas": func(p *packtest.Maker) []byte {
			p.Add(packtest.Blob, len(block), block, 0)
			for i := range 100 {
				// Of different sizes, so that they are different objects.
				d := packtest.Bomb(20 + i)
				p.Add(packtest.OffsetDelta, len(d), d, 1+i)
			}
			return p.Pack()
		},
		"long chain": func(p *packtest.Maker) []byte {
			p.Add(packtest.Blob, 1, []byte("x"), 0)
			for range maxChain + 1 {
				p.Add(packtest.OffsetDelta, 5, []byte{1, 1, 0x90, 1, 0}[:4], 1)
			}
			return p.Pack()
		},
		"delta beyond its base": func(p *packtest.Maker) []byte {
			p.Add(packtest.Blob, 1, []byte("x"), 0)
			p.Add(packtest.OffsetDelta, 4, []byte{1, 2, 0x90, 2}, 1)
			return p.Pack()
		},
		"delta of another base": func(p *packtest.Maker) []byte {
			p.Add(packtest.Blob, 1, []byte("x"), 0)
			p.Add(packtest.OffsetDelta, 4, []byte{9, 1, 0x90, 1}, 1)
			return p.Pack()
		},
		"empty delta": func(p *packtest.Maker) []byte {
			p.Add(packtest.Blob, 1, []byte("x"), 0)
			p.Add(packtest.OffsetDelta, 0, nil, 1)
			return p.Pack()
		},
		"something behind it": func(p *packtest.Maker) []byte { return append(p.Pack(), 1) },
		"wrong checksum": func(p *packtest.Maker) []byte {
			data := p.Pack()
			data[len(data)-1]++
			return data
		},
		"no pack": func(*packtest.Maker) []byte { return []byte("<html>This is not the pack you are looking for") },
	}
}

var smallLimits = Limits{ObjectBytes: 32 << 20, MemoryBytes: 1 << 20, LargeBytes: 1 << 20, ChainBytes: 4 << 20}

const smallDisk = 4 << 20

// smallJob is what a hostile pack may use in tests.
func smallJob(t testing.TB) *budget.Job {
	job := budget.New(8<<20, 1<<30).Start(t.Context())
	t.Cleanup(job.End)
	return job
}

var errFull = errors.New("too much is written")

// A gauge counts what is written beside a pack.
type gauge struct{ used, most, limit int64 }

func (g *gauge) add(n int64) error {
	if g.used+n > g.limit {
		return errFull
	}
	g.used += n
	g.most = max(g.most, g.used)
	return nil
}

func TestHostilePacksAreRefused(t *testing.T) {
	for name, build := range hostilePacks() {
		dir := t.TempDir()
		disk := gauge{limit: smallDisk}
		limits := smallLimits
		limits.Disk = disk.add
		_, _, err := unpackBytes(t, smallJob(t), dir, build(new(packtest.Maker)), limits, nil)
		assert.Error(t, err, name)
		assert.LessOrEqual(t, disk.most, int64(smallDisk), name)
		left, err := filepath.Glob(filepath.Join(dir, "*-*"))
		require.NoError(t, err)
		assert.Empty(t, left, "%s: temporary files", name)
	}
}

func TestUnpackEndsWithItsContext(t *testing.T) {
	_, pack, _ := chained(t)
	name := filepath.Join(t.TempDir(), "pack")
	require.NoError(t, os.WriteFile(name, pack, 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = Unpack(budget.New(8<<20, 1<<30).Start(ctx), f, int64(len(pack)), t.TempDir(), nil, generous)
	assert.ErrorIs(t, err, context.Canceled)
}

// FuzzUnpack unpacks what a server could send: whatever it is, it ends soon,
// and leaves no temporary file.
func FuzzUnpack(f *testing.F) {
	_, pack, _ := chained(f)
	f.Add(pack)
	for _, build := range hostilePacks() {
		f.Add(build(new(packtest.Maker)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > sha1.Size {
			// The right checksum, or no changed pack would get far.
			sum := sha1.Sum(data[:len(data)-sha1.Size])
			copy(data[len(data)-sha1.Size:], sum[:])
		}
		start, dir := time.Now(), t.TempDir()
		disk := gauge{limit: smallDisk}
		limits := smallLimits
		limits.Disk = disk.add
		_, _, _ = unpackBytes(t, smallJob(t), dir, data, limits, nil)
		if left, _ := filepath.Glob(filepath.Join(dir, "*-*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}
