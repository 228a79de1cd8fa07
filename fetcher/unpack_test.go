package fetcher

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
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

	"github.com/athens-go/athens/internal/modtest"
)

var generous = unpackLimits{objects: 1 << 20, object: 1 << 30, disk: 1 << 30, memory: 32 << 20, large: 8 << 20}

// unpackBytes unpacks a pack into a folder and returns its index, if it is kept.
func unpackBytes(t testing.TB, dir string, pack []byte, limits unpackLimits, held *objects) ([]byte, *unpacker, error) {
	name := filepath.Join(t.TempDir(), "pack")
	require.NoError(t, os.WriteFile(name, pack, 0o600))
	f, err := os.Open(name)
	require.NoError(t, err)
	defer f.Close()
	u := &unpacker{ctx: t.Context(), limits: limits, pack: f, size: int64(len(pack)), dir: dir, held: held, thin: held != nil}
	if err := u.run(); err != nil {
		return nil, u, err
	}
	require.NoError(t, writePackIndex(name+".idx", u.list, u.packSum))
	index, err := os.ReadFile(name + ".idx")
	require.NoError(t, err)
	return index, u, nil
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
	tight.memory = 0
	for name, limits := range map[string]unpackLimits{"with bases kept": generous, "with bases made again": tight} {
		got, u, err := unpackBytes(t, t.TempDir(), pack, limits, nil)
		require.NoError(t, err, name)
		assert.True(t, bytes.Equal(want, got), name)
		assert.Zero(t, u.disk, name)
	}
}

// TestUnpackApart takes for large what is not, and takes a pack apart.
func TestUnpackApart(t *testing.T) {
	repo, pack, _ := chained(t)
	original := openObjects(repo)
	defer original.storage.Close()
	small := generous
	small.large = 100
	for name, held := range map[string]*objects{"large ones": nil, "all": original} {
		dir := t.TempDir()
		folder := filepath.Join(dir, "objects", "pack")
		require.NoError(t, os.MkdirAll(folder, 0o777))
		index, u, err := unpackBytes(t, filepath.Dir(folder), pack, small, held)
		require.NoError(t, err, name)
		if held == nil {
			base := filepath.Join(folder, fmt.Sprintf("pack-%x", u.packSum))
			require.NoError(t, os.WriteFile(base+".pack", pack, 0o600))
			require.NoError(t, os.WriteFile(base+".idx", index, 0o600))
		}
		singles := 0
		got := openObjects(dir)
		defer got.storage.Close()
		for _, e := range u.list {
			if e.single {
				singles++
			}
			want, err := original.storage.EncodedObject(plumbing.AnyObject, e.hash)
			require.NoError(t, err, name)
			obj, err := got.storage.EncodedObject(e.kind, e.hash)
			require.NoError(t, err, name)
			assert.Equal(t, contentOf(t, want), contentOf(t, obj), name)
		}
		assert.NotZero(t, singles, name)
		left, err := filepath.Glob(filepath.Join(dir, "objects", "*-*"))
		require.NoError(t, err)
		assert.Empty(t, left, "%s: temporary files", name)
	}
}

func openObjects(dir string) *objects {
	return &objects{storage: filesystem.NewStorageWithOptions(osfs.New(dir), cache.NewObjectLRU(readCacheBytes), filesystem.Options{KeepDescriptors: true})}
}

func contentOf(t testing.TB, obj plumbing.EncodedObject) string {
	rd, err := obj.Reader()
	require.NoError(t, err)
	defer rd.Close()
	data, err := io.ReadAll(rd)
	require.NoError(t, err)
	return string(data)
}

// A packMaker makes packs that no git would make.
type packMaker struct {
	body  bytes.Buffer
	count uint32
	at    []int // offsets of the objects
}

// add adds an object that says to have a size; back counts objects to a base.
func (p *packMaker) add(kind plumbing.ObjectType, size int, content []byte, back int) {
	offset := 12 + p.body.Len()
	b := byte(kind)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.body.WriteByte(b | 0x80)
		b = byte(size & 0x7f)
	}
	p.body.WriteByte(b)
	if kind == plumbing.OFSDeltaObject {
		n := offset - p.at[len(p.at)-back]
		out := []byte{byte(n & 0x7f)}
		for n >>= 7; n > 0; n >>= 7 {
			n--
			out = append([]byte{byte(n&0x7f) | 0x80}, out...)
		}
		p.body.Write(out)
	}
	p.at = append(p.at, offset)
	z := zlib.NewWriter(&p.body)
	_, _ = z.Write(content)
	_ = z.Close()
	p.count++
}

func (p *packMaker) pack() []byte {
	out := append([]byte("PACK\x00\x00\x00\x02"), binary.BigEndian.AppendUint32(nil, p.count)...)
	out = append(out, p.body.Bytes()...)
	sum := sha1.Sum(out)
	return append(out, sum[:]...)
}

// bomb is a delta that repeats its base of 64 KiB.
func bomb(times int) []byte {
	var d []byte
	for _, n := range []int{1 << 16, times << 16} {
		for ; n > 0x7f; n >>= 7 {
			d = append(d, byte(n&0x7f)|0x80)
		}
		d = append(d, byte(n))
	}
	return append(d, bytes.Repeat([]byte{0x80}, times)...)
}

// hostilePacks are packs to refuse, under small limits.
func hostilePacks() map[string]func(*packMaker) []byte {
	block := make([]byte, 1<<16)
	return map[string]func(*packMaker) []byte{
		"size too small": func(p *packMaker) []byte { p.add(plumbing.BlobObject, 3, []byte("four"), 0); return p.pack() },
		"size too large": func(p *packMaker) []byte { p.add(plumbing.BlobObject, 5, []byte("four"), 0); return p.pack() },
		"size of all there is": func(p *packMaker) []byte {
			p.add(plumbing.BlobObject, 1<<62, []byte("four"), 0)
			return p.pack()
		},
		"more objects than there are": func(p *packMaker) []byte { p.count = 1000; return p.pack() },
		"too many objects":            func(p *packMaker) []byte { p.count = 1 << 31; return p.pack() },
		"delta bomb": func(p *packMaker) []byte {
			p.add(plumbing.BlobObject, len(block), block, 0)
			d := bomb(1 << 10)
			p.add(plumbing.OFSDeltaObject, len(d), d, 1)
			return p.pack()
		},
		"many large deltas": func(p *packMaker) []byte {
			p.add(plumbing.BlobObject, len(block), block, 0)
			for i := range 100 {
				// Of different sizes, so that they are different objects.
				d := bomb(20 + i)
				p.add(plumbing.OFSDeltaObject, len(d), d, 1+i)
			}
			return p.pack()
		},
		"long chain": func(p *packMaker) []byte {
			p.add(plumbing.BlobObject, 1, []byte("x"), 0)
			for range maxChain + 1 {
				p.add(plumbing.OFSDeltaObject, 5, []byte{1, 1, 0x90, 1, 0}[:4], 1)
			}
			return p.pack()
		},
		"delta beyond its base": func(p *packMaker) []byte {
			p.add(plumbing.BlobObject, 1, []byte("x"), 0)
			p.add(plumbing.OFSDeltaObject, 4, []byte{1, 2, 0x90, 2}, 1)
			return p.pack()
		},
		"delta of another base": func(p *packMaker) []byte {
			p.add(plumbing.BlobObject, 1, []byte("x"), 0)
			p.add(plumbing.OFSDeltaObject, 4, []byte{9, 1, 0x90, 1}, 1)
			return p.pack()
		},
		"empty delta": func(p *packMaker) []byte {
			p.add(plumbing.BlobObject, 1, []byte("x"), 0)
			p.add(plumbing.OFSDeltaObject, 0, nil, 1)
			return p.pack()
		},
		"something behind it": func(p *packMaker) []byte { return append(p.pack(), 1) },
		"wrong checksum": func(p *packMaker) []byte {
			data := p.pack()
			data[len(data)-1]++
			return data
		},
		"no pack": func(*packMaker) []byte { return []byte("<html>This is not the pack you are looking for") },
	}
}

var smallLimits = unpackLimits{objects: 10_000, object: 32 << 20, disk: 4 << 20, memory: 1 << 20, large: 1 << 20}

func TestHostilePacksAreRefused(t *testing.T) {
	for name, build := range hostilePacks() {
		dir := t.TempDir()
		_, u, err := unpackBytes(t, dir, build(new(packMaker)), smallLimits, nil)
		assert.Error(t, err, name)
		assert.LessOrEqual(t, u.disk, smallLimits.disk+1<<20, name)
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
	u := &unpacker{ctx: ctx, limits: generous, pack: f, size: int64(len(pack)), dir: t.TempDir()}
	assert.ErrorIs(t, u.run(), context.Canceled)
}

// FuzzUnpack unpacks what a server could send: whatever it is, it ends soon,
// and leaves no temporary file.
func FuzzUnpack(f *testing.F) {
	_, pack, _ := chained(f)
	f.Add(pack)
	for _, build := range hostilePacks() {
		f.Add(build(new(packMaker)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > sha1.Size {
			// The right checksum, or no changed pack would get far.
			sum := sha1.Sum(data[:len(data)-sha1.Size])
			copy(data[len(data)-sha1.Size:], sum[:])
		}
		start, dir := time.Now(), t.TempDir()
		_, _, _ = unpackBytes(t, dir, data, smallLimits, nil)
		if left, _ := filepath.Glob(filepath.Join(dir, "*-*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		if took := time.Since(start); took > time.Minute {
			t.Errorf("it took %v", took)
		}
	})
}
