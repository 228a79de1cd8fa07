package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/examples/internal/server"
	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/ledger"
)

// auditor compares what a store holds with the ledger of a registry, as a stranger who
// has nothing but the registry's URL and the ledger's public key, or with the folder of a
// stopped one. The newest head that it saw is in a file, and the next run wants the log to
// be a continuation of it.
type auditor struct {
	store athens.Storage
	dir   string                        // of a stopped ledger; empty means that one is asked
	lines map[module.Version]recordedAs // what that has recorded; nil if it can't be used
	sums  *sumdb.Client
	ops   *auditorOps
	known note.Verifiers
	file  string // of the newest head that was seen
}

// recordedAs has the hashes in a record.
type recordedAs struct{ zip, mod string }

// ledgerFlags defines the flags of the comparison, and returns what makes its auditor of
// them.
func ledgerFlags(f *server.Flags) func(athens.Storage) (*auditor, error) {
	url := f.String("ledger", "", "compare all that is held with the ledger of the registry at this `URL`; empty means that none is asked")
	dir := f.String("ledger-dir", "", "compare all that is held with the stopped ledger in this `folder`, such as DIR/.ledger; empty means with none")
	key := f.String("ledger-key", "", "the public `key` of that ledger, NAME+HASH+KEY; empty is an error with -ledger and -ledger-dir")
	head := f.String("ledger-head", "", "keep the newest head of the ledger in this `file`, and want the log to continue the one in it; empty means that none is kept")
	return func(store athens.Storage) (*auditor, error) { return newAuditor(store, *url, *dir, *key, *head) }
}

// newAuditor returns nil if no ledger is to be asked.
func newAuditor(store athens.Storage, url, dir, key, head string) (*auditor, error) {
	if url == "" && dir == "" && key == "" && head == "" {
		return nil, nil
	}
	if (url == "") == (dir == "") || key == "" {
		return nil, errors.New("give -ledger the URL of a registry or -ledger-dir the folder of a ledger, and -ledger-key its key")
	}
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("-ledger-key: %w", err)
	}
	ops := &auditorOps{
		client: &http.Client{Timeout: time.Minute},
		base:   strings.TrimSuffix(url, "/") + "/sumdb/" + verifier.Name(),
		key:    key,
	}
	return &auditor{store: store, dir: dir, sums: sumdb.NewClient(ops), ops: ops, known: note.VerifierList(verifier), file: head}, nil
}

// history returns what is wrong with the log as a continuation of the one that the last
// run saw, and keeps its newest head if that is nothing.
func (a *auditor) history(ctx context.Context) (finding string, err error) {
	if a == nil {
		return "", nil
	}
	if a.dir != "" {
		return a.inspect(ctx)
	}
	signed, err := a.ops.ReadRemote("/latest")
	if err != nil {
		return "", fmt.Errorf("ledger: %w", err)
	}
	tree, err := a.parse(signed)
	if err != nil {
		return fmt.Sprintf("the ledger's head is not its own: %v", err), nil
	}
	if a.file == "" {
		return "", nil
	}
	data, err := os.ReadFile(a.file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err == nil {
		seen, err := a.parse(data)
		if err != nil {
			return "", fmt.Errorf("-ledger-head: %s: %w", a.file, err)
		}
		if finding, err := a.continues(tree, seen); finding != "" || err != nil {
			return finding, err
		}
	}
	return "", a.keep(signed)
}

// keep writes the newest head to the file, if there is to be one.
func (a *auditor) keep(signed []byte) error {
	if a.file == "" {
		return nil
	}
	return durable.Replace(durable.OS{}, filepath.Dir(a.file), "."+filepath.Base(a.file)+"-", a.file, signed)
}

// inspect reads a stopped ledger, and returns what is wrong with it.
func (a *auditor) inspect(ctx context.Context) (finding string, err error) {
	var seen []byte
	if a.file != "" {
		if seen, err = os.ReadFile(a.file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
	}
	lines := make(map[module.Version]recordedAs)
	signed, err := ledger.Inspect(ctx, a.dir, a.ops.key, seen, func(m module.Version, zipHash, modHash string) {
		lines[m] = recordedAs{zipHash, modHash}
	})
	if damage, ok := errors.AsType[*ledger.DamagedError](err); ok {
		return damage.Error(), nil
	}
	if err != nil {
		return "", err
	}
	a.lines = lines
	return "", a.keep(signed)
}

// compareRecord is compare with the record of a stopped ledger.
func (a *auditor) compareRecord(path, version, hash string) (finding string) {
	release, isMod := strings.CutSuffix(version, "/go.mod")
	r, ok := a.lines[module.Version{Path: path, Version: release}]
	want := r.zip
	if isMod {
		want = r.mod
	}
	switch {
	case !ok:
		return fmt.Sprintf("%s: unrecorded %s: the ledger does not know it", path, release)
	case want != hash:
		return fmt.Sprintf("%s: contradicts the ledger: %s is held with %s, and recorded is %s", path, version, hash, want)
	}
	return ""
}

// parse reads a signed head.
func (a *auditor) parse(signed []byte) (tlog.Tree, error) {
	n, err := note.Open(signed, a.known)
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.ParseTree([]byte(n.Text))
}

// continues returns why a log of that tree does not continue the one that was seen.
func (a *auditor) continues(tree, seen tlog.Tree) (finding string, err error) {
	switch {
	case tree.N < seen.N:
		return fmt.Sprintf("the ledger was rolled back: it has %d records, and had %d", tree.N, seen.N), nil
	case seen.N == 0 || tree == seen:
		return "", nil
	}
	proof, err := tlog.ProveTree(tree.N, seen.N, tlog.TileHashReader(tree, a.ops))
	if err == nil {
		err = tlog.CheckTree(proof, tree.N, tree.Hash, seen.N, seen.Hash)
	}
	if a.ops.failed != nil {
		return "", fmt.Errorf("ledger: %w", a.ops.failed)
	}
	if err != nil {
		return fmt.Sprintf("the ledger was forked: its %d records don't begin with the %d that it had: %v", tree.N, seen.N, err), nil
	}
	return "", nil
}

// check returns what is wrong with the record of a version that is held; "" is nothing.
// The error says that it could not be looked at.
func (a *auditor) check(ctx context.Context, m module.Version) (finding string, err error) {
	if a == nil || a.dir != "" && a.lines == nil {
		return "", nil
	}
	obj, err := a.store.Open(ctx, m, athens.ZipFile)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil // without its zip it is not recorded yet
	}
	if err != nil {
		return "", err
	}
	defer obj.Body.Close()
	in, ok := obj.Body.(io.ReaderAt)
	if !ok {
		return "", fmt.Errorf("%s: the zip can't be read at offsets", m)
	}
	zipHash, err := modcheck.ZipAlone(in, obj.Size, m, modcheckLimit)
	if err != nil {
		return fmt.Sprintf("%s: damaged %s.zip: %v", m.Path, m.Version, err), nil
	}
	mod, err := a.store.Open(ctx, m, athens.ModFile)
	if err != nil {
		return "", err
	}
	defer mod.Body.Close()
	data, err := limit.ReadAll(mod.Body, modcheckLimit)
	if err != nil {
		return "", err
	}
	modHash, err := modcheck.ModHash(data)
	if err != nil {
		return "", err
	}
	if finding, err := a.compare(m.Path, m.Version, zipHash); finding != "" || err != nil {
		return finding, err
	}
	return a.compare(m.Path, m.Version+"/go.mod", modHash)
}

// modcheckLimit bounds the bytes of a zip's content, as the go command does.
const modcheckLimit = 500 << 20

// compare looks one hash up.
func (a *auditor) compare(path, version, hash string) (finding string, err error) {
	if a.dir != "" {
		return a.compareRecord(path, version, hash), nil
	}
	lines, err := a.sums.Lookup(path, version)
	if a.ops.security != "" {
		return "the ledger contradicts itself: " + a.ops.security, nil
	}
	if a.ops.missing {
		a.ops.missing = false
		return fmt.Sprintf("%s: unrecorded %s: the ledger does not know it", path, version), nil
	}
	if err != nil {
		return "", fmt.Errorf("ledger: %w", err)
	}
	want := path + " " + version + " " + hash
	for _, line := range lines {
		if line == want {
			return "", nil
		}
	}
	return fmt.Sprintf("%s: contradicts the ledger: %s is held with %s, and recorded is %q", path, version, hash, lines), nil
}

// auditorOps is how the client of the database reaches it.
type auditorOps struct {
	client    *http.Client
	base, key string
	last      string // the newest head

	failed   error // why a tile could not be read
	missing  bool
	security string
}

// ReadRemote reads a path of the database.
func (o *auditorOps) ReadRemote(path string) ([]byte, error) {
	resp, err := o.client.Get(o.base + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := limit.ReadAll(resp.Body, 1<<20)
	if err == nil && resp.StatusCode != http.StatusOK {
		o.missing = resp.StatusCode == http.StatusNotFound && strings.HasPrefix(path, "/lookup/")
		err = fmt.Errorf("%s: %s: %.200s", path, resp.Status, strings.TrimSpace(string(data)))
	}
	return data, err
}

// Height is that of the tiles.
func (o *auditorOps) Height() int { return 8 }

// ReadTiles reads tiles. The caller proves them.
func (o *auditorOps) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		data, err := o.ReadRemote("/" + t.Path())
		if err != nil {
			o.failed = err
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// SaveTiles keeps nothing.
func (o *auditorOps) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadConfig returns the key, or the newest head of this run.
func (o *auditorOps) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(o.key), nil
	}
	return []byte(o.last), nil
}

// WriteConfig remembers a newer head.
func (o *auditorOps) WriteConfig(_ string, old, head []byte) error {
	if o.last != string(old) {
		return sumdb.ErrWriteConflict
	}
	o.last = string(head)
	return nil
}

// ReadCache finds nothing: all is asked anew.
func (o *auditorOps) ReadCache(string) ([]byte, error) { return nil, fs.ErrNotExist }

// WriteCache keeps nothing.
func (o *auditorOps) WriteCache(string, []byte) {}

// Log says nothing.
func (o *auditorOps) Log(string) {}

// SecurityError notes that two signed heads contradict each other.
func (o *auditorOps) SecurityError(msg string) { o.security = strings.Join(strings.Fields(msg), " ") }
