package web

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
)

// ledgerData is the state of the ledger.
type ledgerData struct {
	Key, Name string
	Size      int64
	Hash      string
	Head      string // as it was signed
	Recent    []row
	About     module.Version // whose record is shown
	Record    string
	ID        int64
	Proof     int    // hashes that prove the record
	Note      string // why there is no record
	Following *Following
	Followed  bool // the server knows who follows it
	Followers []Follower
	Count     int // of followers
}

// Following is how far a server is with the log and the versions of the one that it
// follows.
type Following struct {
	Primary string        // its URL; empty if it is not asked
	Records int64         // that were verified
	Offered int64         // that the primary has
	Lag     int64         // records whose versions are not here
	LagTime time.Duration // since nothing was missing
	Failed  int64         // versions that the primary can't give
	Error   string        // why the last look at the primary failed; empty if it did not
}

// Follower is a server that follows this one.
type Follower struct {
	Name, Address string
	Heard         time.Time     // when it said so last
	LagTime       time.Duration // how long ago the first event was told that it has not applied; zero if there is none
	LagEvents     int
	Records       int64 // that it has verified
	LagRecords    int64 // of which it lacks the versions
}

// recentRecords is how many records the page lists, of those that it reads.
const (
	recentRecords = 25
	maxRecords    = 5000
)

// ledger makes the page of the ledger.
func (q *request) ledger() (string, error) {
	l := q.watched.Load().Ledger
	if l == nil {
		return "", &statusError{http.StatusNotFound, "This server keeps no ledger."}
	}
	q.Title, q.Section = "Ledger", "ledger"
	d := &ledgerData{Key: l.VerifierKey()}
	q.Data = d
	if q.opts.Following != nil {
		f := q.opts.Following()
		d.Following = &f
		if !q.reader.all {
			f.Primary, f.Error = "", "" // they may name what is private
		}
	}
	if q.opts.FollowedBy != nil {
		followers := q.opts.FollowedBy()
		d.Followed, d.Count = true, len(followers)
		if q.reader.all {
			d.Followers = followers
		}
	}
	signed, err := l.Signed(q.ctx)
	if err != nil {
		return "", err
	}
	verifier, err := note.NewVerifier(d.Key)
	if err != nil {
		return "", err
	}
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return "", err
	}
	tree, err := tlog.ParseTree([]byte(opened.Text))
	if err != nil {
		return "", err
	}
	d.Name, d.Size, d.Hash, d.Head = verifier.Name(), tree.N, tree.Hash.String(), string(signed)
	q.recent(l, d)
	if about := q.r.URL.Query().Get("m"); about != "" {
		return "ledger.html", q.record(l, tree, about, d)
	}
	return "ledger.html", nil
}

// recent lists what was recorded last: of the last hour, or of a longer time if that is little.
func (q *request) recent(l athens.Ledger, d *ledgerData) {
	for _, span := range []time.Duration{time.Hour, 24 * time.Hour, 30 * 24 * time.Hour} {
		d.Recent = d.Recent[:0]
		read := 0
		_ = l.Since(q.ctx, time.Now().Add(-span), func(m module.Version, at time.Time) bool {
			if read++; read > maxRecords {
				return false
			}
			if !q.sees(m.Path) {
				return true
			}
			if len(d.Recent) == 2*recentRecords {
				d.Recent = slices.Delete(d.Recent, 0, recentRecords)
			}
			d.Recent = append(d.Recent, row{Module: m, At: at})
			return true
		}) // an error leaves the list shorter
		if len(d.Recent) >= recentRecords || read > maxRecords {
			break
		}
	}
	slices.Reverse(d.Recent)
	d.Recent = d.Recent[:min(len(d.Recent), recentRecords)]
}

// record fills in the record of a version, with its proof.
func (q *request) record(l athens.Ledger, tree tlog.Tree, about string, d *ledgerData) error {
	m, err := q.version(about)
	d.About = m
	if err != nil || m.Version == "" {
		d.Note = "Enter the path and version of a recorded version, such as example.com/mod@v1.2.3."
		return nil
	}
	lookup := l.Lookup
	if held, ok := l.(interface {
		Recorded(ctx context.Context, m module.Version) (int64, error)
	}); ok { // a page makes nobody fetch anything
		lookup = held.Recorded
	}
	id, err := lookup(q.ctx, m)
	if isMissing(err) {
		d.Note = "That version is not recorded."
		return nil
	}
	if err != nil {
		return err
	}
	records, err := l.ReadRecords(q.ctx, id, 1)
	if err != nil || len(records) != 1 {
		return errors.Join(err, errors.New("web: the record can't be read"))
	}
	proof, err := tlog.ProveRecord(tree.N, id, tlog.TileHashReader(tree, &tiles{q.ctx, l}))
	if err == nil {
		err = tlog.CheckRecord(proof, tree.N, tree.Hash, id, tlog.RecordHash(records[0]))
	}
	if err != nil {
		return err
	}
	d.Record, d.ID, d.Proof = string(records[0]), id, len(proof)
	return nil
}

// tiles reads the tiles of a ledger.
type tiles struct {
	ctx    context.Context
	ledger athens.Ledger
}

// Height is for tlog.
func (t *tiles) Height() int { return 8 }

// ReadTiles is for tlog.
func (t *tiles) ReadTiles(list []tlog.Tile) (all [][]byte, err error) {
	for _, tile := range list {
		data, err := t.ledger.ReadTileData(t.ctx, tile)
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

// SaveTiles is for tlog.
func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}
