package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger"
)

const ledgerName = "sum.corp.example"

// auditor looks versions up, and keeps every head and record that it was told.
type auditor struct {
	d        *downloads
	url      string
	verifier note.Verifier

	mu      sync.Mutex
	heads   map[int64]tlog.Hash
	records map[int64]string
}

// newAuditor returns an auditor of a cluster, and the key of its ledger.
func newAuditor(t *testing.T, d *downloads, dir, url string) (a *auditor, key string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "ledger.key"))
	require.NoError(t, err)
	key = strings.TrimSpace(string(data))
	public, err := ledger.PublicKey(key)
	require.NoError(t, err)
	verifier, err := note.NewVerifier(public)
	require.NoError(t, err)
	return &auditor{d: d, url: url, verifier: verifier, heads: map[int64]tlog.Hash{}, records: map[int64]string{}}, key
}

// run looks up one version after the other, by way of any proxy.
func (a *auditor) run(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil {
		v := a.d.versions[random.IntN(max(1, int(a.d.reach.Load())))]
		status, body, err := get(ctx, a.url+"/sumdb/"+ledgerName+"/lookup/"+v.Path+"@"+v.Version.Version)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.d.cut.Add(1) // the proxy died meanwhile
		case status != http.StatusOK:
			a.d.bad.Store(fmt.Sprintf("look-up of %s: status %d: %s", v, status, body), nil)
		default:
			if err := a.note(v, body); err != nil {
				a.d.bad.Store(fmt.Sprintf("look-up of %s: %v", v, err), nil)
			}
			a.d.good.Add(1)
		}
	}
}

// note compares an answer with those before it.
func (a *auditor) note(v *modtest.Version, body []byte) error {
	id, text, rest, err := tlog.ParseRecord(body)
	if err != nil {
		return err
	}
	signed, err := note.Open(rest, note.VerifierList(a.verifier))
	if err != nil {
		return err
	}
	tree, err := tlog.ParseTree([]byte(signed.Text))
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if hash, ok := a.heads[tree.N]; ok && hash != tree.Hash {
		return fmt.Errorf("two heads of %d records differ", tree.N)
	}
	if record, ok := a.records[id]; ok && record != string(text) {
		return fmt.Errorf("record %d is %q, and was %q", id, text, record)
	}
	if id >= tree.N || !strings.Contains(string(text), v.Version.Version+" "+v.Sum+"\n") {
		return fmt.Errorf("record %d in a tree of %d is %q, want %s", id, tree.N, text, v.Sum)
	}
	a.heads[tree.N], a.records[id] = tree.Hash, string(text)
	return nil
}

// verdict has the go command verify all versions, and compares the ledger in the bucket with
// what was answered: one record for each version, and each head the beginning of the newest.
func (a *auditor) verdict(t *testing.T, c *cluster, g *modtest.Go, key string) {
	t.Helper()
	g.Clean()
	refs := []string{"mod", "download", "-json"}
	for _, v := range a.d.versions {
		refs = append(refs, v.Path+"@"+v.Version.Version)
	}
	stdout, stderr, err := g.Run(refs...)
	require.NoError(t, err, "%s\n%s", stdout, stderr)
	for _, v := range a.d.versions {
		require.Contains(t, stdout, v.Sum)
	}
	latest, err := os.ReadFile(filepath.Join(gopath(t, g), "pkg", "sumdb", ledgerName, "latest"))
	require.NoError(t, err, "the go command asked the ledger")
	_, err = note.Open(latest, note.VerifierList(a.verifier))
	require.NoError(t, err)

	store, err := blob.OpenURL(t.Context(), c.bucket, nil)
	require.NoError(t, err)
	defer store.Close()
	l, err := blob.NewLedger(t.Context(), store, key, nil)
	require.NoError(t, err)
	defer l.Close()
	recorded := map[string]int{}
	require.NoError(t, l.Since(t.Context(), time.Time{}, func(m module.Version, _ time.Time) bool {
		recorded[m.String()]++
		return true
	}))
	assert.Len(t, recorded, len(a.d.versions))
	for name, n := range recorded {
		assert.Equal(t, 1, n, name)
	}
	for id, text := range a.records {
		texts, err := l.ReadRecords(t.Context(), id, 1)
		require.NoError(t, err)
		assert.Equal(t, text, string(texts[0]))
	}
	a.extend(t, l)
}

// build lets a go command that has pasted the cluster's line download one version after the
// other. It may fail when a proxy dies, and never because of what it was told.
func (a *auditor) build(ctx context.Context, g *modtest.Go, random *rand.Rand) {
	for ctx.Err() == nil {
		v := a.d.versions[random.IntN(max(1, int(a.d.reach.Load())))]
		stdout, stderr, err := g.Run("mod", "download", "-json", v.Path+"@"+v.Version.Version)
		if said := stdout + stderr; err != nil && (strings.Contains(said, "SECURITY") || strings.Contains(said, "mismatch")) {
			a.d.bad.Store(fmt.Sprintf("the go command says of %s: %s", v, said), nil)
		}
	}
}

func gopath(t *testing.T, g *modtest.Go) string {
	t.Helper()
	for _, e := range g.Env() {
		if dir, ok := strings.CutPrefix(e, "GOPATH="); ok {
			return dir
		}
	}
	t.Fatal("the go command has no GOPATH")
	return ""
}

// extend checks that each head that was seen is the beginning of the newest.
func (a *auditor) extend(t *testing.T, l *blob.Ledger) {
	t.Helper()
	hashes := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var list []tlog.Hash
		for _, index := range indexes {
			tile := tlog.TileForIndex(8, index)
			data, err := l.ReadTileData(t.Context(), tile)
			if err != nil {
				return nil, err
			}
			h, err := tlog.HashFromTile(tile, data, index)
			if err != nil {
				return nil, err
			}
			list = append(list, h)
		}
		return list, nil
	})
	for n, want := range a.heads {
		hash, err := tlog.TreeHash(n, hashes)
		require.NoError(t, err)
		assert.Equal(t, want, hash, "the head of %d records", n)
	}
}
