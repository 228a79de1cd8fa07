package bench_test

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger"
)

// recorded makes a version and its hashes from a number. Paths and versions are as long
// as usual ones; one in four is a pseudo-version.
func recorded(i int) (m module.Version, zipHash, modHash string) {
	m.Path = fmt.Sprintf("git.corp.example/team-%03d/service-%05d", i%997, i/100)
	m.Version = fmt.Sprintf("v1.%d.%d", i/10%10, i%10)
	if i%4 == 0 {
		m.Version = fmt.Sprintf("v0.0.0-%d-%012x", 20200101000000+i%10, i)
	}
	sum := tlog.RecordHash([]byte(strconv.Itoa(i)))
	zipHash = "h1:" + sum.String()
	sum[0] ^= 1
	return m, zipHash, "h1:" + sum.String()
}

// writeRecords makes the log of a ledger with n records, and its signed head, as package
// ledger documents them, without a sync for each. Tiles and index are left for
// ledger.New to make, which checks the records against the head.
func writeRecords(t *testing.T, dir, key string, n int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "records"))
	if err != nil {
		t.Fatal(err)
	}
	out := bufio.NewWriterSize(f, 1<<20)
	table, at := crc32.MakeTable(crc32.Castagnoli), time.Now().UnixNano()-int64(n)
	var row []tlog.Hash // of whole subtrees, one for each bit of the number of records
	var buf []byte
	for i := range n {
		m, zipHash, modHash := recorded(i)
		text := fmt.Appendf(nil, "%s %s %s\n%s %s/go.mod %s\n", m.Path, m.Version, zipHash, m.Path, m.Version, modHash)
		buf = binary.LittleEndian.AppendUint32(buf[:0], uint32(len(text)))
		buf = binary.LittleEndian.AppendUint64(buf, uint64(at+int64(i)))
		buf = binary.LittleEndian.AppendUint32(buf, crc32.Update(crc32.Update(0, table, buf), table, text))
		if _, err := out.Write(append(buf, text...)); err != nil {
			t.Fatal(err)
		}
		row = append(row, tlog.RecordHash(text))
		for size := i + 1; size%2 == 0; size /= 2 {
			row = append(row[:len(row)-2], tlog.NodeHash(row[len(row)-2], row[len(row)-1]))
		}
	}
	root := row[len(row)-1]
	for i := len(row) - 2; i >= 0; i-- {
		root = tlog.NodeHash(row[i], root)
	}
	signer, err := note.NewSigner(key)
	if err != nil {
		t.Fatal(err)
	}
	head, err := note.Sign(&note.Note{Text: string(tlog.FormatTree(tlog.Tree{N: int64(n), Hash: root}))}, signer)
	if err == nil {
		err = out.Flush()
	}
	if err == nil {
		err = f.Close()
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "head"), head, 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// measureRecords starts a registry with a very large ledger, and looks up records in it
// while the start still checks it in the background, and afterwards.
func measureRecords(t *testing.T, b *table) {
	key, _ := newLedgerKey(t)
	dir := filepath.Join(t.TempDir(), "store")
	folder := filepath.Join(dir, ".ledger")
	writeRecords(t, folder, key, b.records)
	if err := os.WriteFile(dir+".ledger.key", []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("a ledger of %d records", b.records)
	begun := time.Now()
	l, err := ledger.New(folder, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.add(t, line{"tiles and index of " + name + " made again", ownName, time.Since(begun).Seconds(), "s", noTarget, ""})
	more := b.records / 100 // in the order of their hashes, as they come in real life
	addRecords(t, l, writers, b.records, b.records+more)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	used := diskUsage(t, folder)
	b.add(t, line{"disk for a record, " + name, ownName, float64(used.all) / float64(b.records+more), "bytes", 400,
		fmt.Sprintf("records %.0f, tiles %.0f, index %.0f", float64(used.records)/float64(b.records+more), float64(used.tiles)/float64(b.records+more), float64(used.index)/float64(b.records+more))})
	measureLargeLedger(t, b, name, dir)
}

// measureLargeLedger starts the registry, again and again.
func measureLargeLedger(t *testing.T, b *table, name, dir string) {
	t.Helper()
	env := modtest.NewGo(t, nil).Env()
	bin := modtest.Build(t, "./examples/registry")
	var starts []time.Duration
	for i := range b.starts {
		s := begin(t, ownName, env, bin, "-addr", "{addr}", "-dir", dir, "-private", "", "-ledger", sumName)
		conn := s.dial(t)
		m, _, _ := recorded(b.records / 2)
		request := []byte("GET /sumdb/" + sumName + "/lookup/" + m.Path + "@" + m.Version + " HTTP/1.1\r\nHost: bench.test\r\n\r\n")
		err := conn.SetDeadline(time.Now().Add(startLimit))
		if err == nil {
			err = exchange(conn, request, make([]byte, 64<<10))
		}
		if err != nil {
			t.Fatal(err)
		}
		starts = append(starts, time.Since(s.begun))
		_ = conn.Close()
		if i < b.starts-1 {
			s.kill()
			continue
		}
		b.add(t, line{"process start to first look-up, " + name, ownName, float64(quantile(starts, 0.5)) / 1e6, "ms", 1000,
			fmt.Sprintf("fastest %s, slowest %s", short(quantile(starts, 0)), short(quantile(starts, 1)))})
		measureLookUps(t, b, name, s)
	}
}

// measureLookUps looks records up one after the other, until the check in the background
// is done, and then again.
func measureLookUps(t *testing.T, b *table, name string, s *server) {
	t.Helper()
	var paths []string
	for _, i := range spread(min(1000, b.records), b.records) {
		m, _, _ := recorded(i)
		paths = append(paths, "sumdb/"+sumName+"/lookup/"+m.Path+"@"+m.Version)
	}
	p99 := func() (time.Duration, time.Duration) {
		answers := flood(t, s.url, paths, 1, len(paths))
		mustHold(t, s.name, answers)
		var all []time.Duration
		for _, a := range answers {
			all = append(all, a.whole)
		}
		return quantile(all, 0.99), quantile(all, 0.5)
	}
	busy, busyHalf := p99()
	begun, most := time.Now(), s.memory(t)
	for large := b.records > 1<<16; large && !strings.Contains(read(s.log), "ledger: checked"); most = max(most, s.memory(t)) {
		if time.Since(begun) > 10*time.Minute {
			t.Fatal("the check has no end")
		}
		flood(t, s.url, paths[:100], 1, 100)
	}
	checked := time.Since(s.begun)
	idle, idleHalf := p99()
	most = max(most, s.memory(t))
	b.add(t, line{"a look-up in " + name + ", p99", ownName, float64(idle.Microseconds()) / 1000, "ms", 5,
		fmt.Sprintf("p50 %s; while the start checks the log, p50 %s, p99 %s; it was done after %s", short(idleHalf), short(busyHalf), short(busy), short(checked))})
	b.add(t, line{"memory of the registry with " + name, ownName, float64(most) / (1 << 20), "MB", 100,
		fmt.Sprintf("without files that are mapped, with them at most %d MB", s.peak(t)>>20)})
}

// usage is the disk that a ledger takes, in bytes.
type usage struct{ all, records, tiles, index int64 }

func diskUsage(t *testing.T, dir string) (u usage) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		n := (info.Size() + 4095) / 4096 * 4096 // whole blocks
		u.all += n
		switch name, _ := filepath.Rel(dir, path); {
		case name == "records":
			u.records += n
		case name == "index.db":
			u.index += n
		case strings.HasPrefix(name, "tile"):
			u.tiles += n
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return u
}
