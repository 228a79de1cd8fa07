package athens

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/protocol"
)

// serveLedger answers for the handler's own database. Nothing of it is asked
// elsewhere, so private modules are answered like others.
func (x *exchange) serveLedger() error {
	x.source, x.outcome = SourceStore, OutcomeHeld
	ctx, l := x.r.Context(), x.h.book.ledger
	switch x.req.Op {
	case protocol.Supported:
		return x.serveAnswer("text/plain; charset=utf-8", x.maxAge(), nil)
	case protocol.LatestTree:
		signed, err := l.Signed(ctx)
		if err != nil {
			return ledgerFault(err)
		}
		x.h.book.see(signed) // others may add, too
		return x.serveAnswer("text/plain; charset=utf-8", "no-cache", signed)
	case protocol.TileRequest:
		return x.serveLedgerTile()
	}
	id, err := x.lookUp()
	if err != nil {
		return err
	}
	text, err := x.h.book.record(ctx, id)
	if err != nil {
		return err
	}
	body, err := tlog.FormatRecord(id, text)
	if err != nil {
		return &storeError{err}
	}
	signed, err := l.Signed(ctx)
	if err != nil {
		return &storeError{err}
	}
	return x.serveAnswer("text/plain; charset=utf-8", x.maxAge(), append(body, signed...))
}

// lookUp returns the number of a version's record. What is not held is fetched whole
// and recorded first, once however many ask.
func (x *exchange) lookUp() (int64, error) {
	ctx, b, m := x.r.Context(), x.h.book, x.req.Module
	id, err := b.ledger.Lookup(ctx, m)
	if err == nil {
		return id, nil
	}
	if !errors.Is(err, fs.ErrNotExist) || outermost(err) != nil {
		return 0, ledgerFault(err)
	}
	held, err := x.h.keeper.holds(ctx, m, ModFile, ZipFile)
	if err != nil {
		return 0, err
	}
	if !held {
		if err := x.fetchWhole(m); err != nil {
			return 0, err
		}
		if id, err := b.ledger.Lookup(ctx, m); err == nil {
			return id, nil
		}
	}
	return x.h.adoption.adopt(ctx, m)
}

// fetchWhole makes the store hold a version that is looked up, as a request for its zip
// would. A blocked one is recorded, too, because its .mod is served and verified.
func (x *exchange) fetchWhole(m module.Version) error {
	src, err := x.h.sourceOf(x.r.Context(), m, x.route)
	if err != nil {
		return err
	}
	x.source, x.outcome = src.name, OutcomeFetch
	if err := x.h.pseudo.Admit(m); err != nil {
		return err
	}
	if err := x.h.answers.missing(fileQuestion(m, ZipFile)); err != nil && !x.h.answers.renews(inquiry{question: fileQuestion(m, ZipFile), anew: noCache(x.r.Header)}, x.h.answers.get(fileQuestion(m, ZipFile))) {
		x.remembered = true
		return err
	}
	if !x.h.fetches.running(src, m, x.chain, ZipFile) {
		if err := x.mayFetch(m); err != nil {
			return err
		}
	}
	_, err = x.h.fetches.joinZip(src, m, x.chain, x.start).stored.Wait(x.r.Context())
	return err
}

// ledgerHeight is that of the tiles that go commands ask for.
const ledgerHeight = 8

// serveLedgerTile answers with hashes, or with records.
func (x *exchange) serveLedgerTile() error {
	_, path, _ := strings.Cut(x.r.URL.Path, "/tile/")
	t, err := tlog.ParseTilePath("tile/" + path)
	if err != nil {
		return &requestError{http.StatusBadRequest, err}
	}
	if t.H != ledgerHeight {
		return &MissingError{Err: fmt.Errorf("tiles have height %d here", ledgerHeight)}
	}
	contentType, data := "application/octet-stream", []byte(nil)
	if t.L < 0 {
		contentType = "text/plain; charset=utf-8"
		data, err = x.h.book.bundle(x.r.Context(), t)
	} else {
		data, err = x.h.ledgerTile(x.r.Context(), t, x.r.URL.Path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return &MissingError{Err: errors.New("the log does not have this tile yet")}
	}
	if err != nil {
		return &storeError{err}
	}
	return x.serveAnswer(contentType, forever, data)
}

// ledgerTile returns the hashes of a tile. Full tiles never change and are in most
// proofs, so they are remembered.
func (h *Handler) ledgerTile(ctx context.Context, t tlog.Tile, path string) ([]byte, error) {
	q := question{op: "tile", path: path}
	if t.W == 1<<t.H {
		if a := h.answers.get(q); a.good() {
			return a.body, nil
		}
	}
	data, err := h.book.ledger.ReadTileData(ctx, t)
	if err == nil && t.W == 1<<t.H {
		h.answers.put(q, answer{body: data, at: time.Now()})
	}
	return data, err
}

// bundle returns the records of a tile, as x/mod's sumdb.Server formats them.
func (b *ledgerBook) bundle(ctx context.Context, t tlog.Tile) ([]byte, error) {
	if t.N >= 1<<40 { // shifted, it might overflow
		return nil, fs.ErrNotExist
	}
	texts, err := b.ledger.ReadRecords(ctx, t.N<<t.H, int64(t.W))
	if err != nil {
		return nil, err
	}
	var data []byte
	for i, text := range texts {
		record, err := tlog.FormatRecord(t.N<<t.H+int64(i), text)
		if err != nil {
			return nil, err
		}
		_, record, _ = bytes.Cut(record, []byte{'\n'}) // without its number
		data = append(data, record...)
	}
	return data, nil
}

// maxIndexEntries is how many lines of the index one answer has.
const maxIndexEntries = 2000

// maxIndexLooks is how many records one answer of the index looks at: a client may see
// few of them.
const maxIndexLooks = 10 * maxIndexEntries

// serveIndex answers with what was recorded since a time, in the form of a public
// index: one JSON object a line. A client sees the modules that it may request. If there
// may be more behind, a Link header says where to go on, which the last line does not
// where a client may not see what follows it.
func (x *exchange) serveIndex() error {
	x.source, x.outcome = SourceStore, OutcomeHeld
	b := x.h.book
	if b == nil {
		return &requestError{http.StatusNotFound, errors.New("this server has no index: a server without a ledger does not record in which order versions arrived")}
	}
	since, most, err := indexQuery(x.r.URL.Query())
	if err != nil {
		return &requestError{http.StatusBadRequest, err}
	}
	var body bytes.Buffer
	lines := json.NewEncoder(&body)
	looks, left := 0, most
	err = b.ledger.Since(x.r.Context(), since, func(m module.Version, at time.Time) bool {
		if left == 0 || looks == maxIndexLooks {
			next := url.Values{"since": {at.UTC().Format(time.RFC3339Nano)}, "limit": {strconv.Itoa(most)}}
			x.w.Header().Set("Link", "<?"+next.Encode()+`>; rel="next"`)
			return false
		}
		looks++
		if x.h.opts.Allow == nil || x.h.opts.Allow(x.r, m) == nil {
			_ = lines.Encode(indexLine{m.Path, m.Version, at}) // to memory
			left--
		}
		return true
	})
	if err != nil {
		return &storeError{err}
	}
	return x.serveAnswer("text/plain; charset=utf-8", "no-cache", body.Bytes())
}

// indexLine is a line of the index, in JSON as clients of public indexes read it.
type indexLine struct {
	Path      string
	Version   string
	Timestamp time.Time
}

// indexQuery returns from when on, and how many lines, a request for the index wants.
func indexQuery(query url.Values) (since time.Time, most int, err error) {
	if text := query.Get("since"); text != "" {
		if since, err = time.Parse(time.RFC3339Nano, text); err != nil {
			return since, 0, fmt.Errorf("since is %+.80q; give a time such as 2006-01-02T15:04:05.999999999Z", text)
		}
	}
	most = maxIndexEntries
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return since, 0, fmt.Errorf("limit is %+.80q; give a number from 1 to %d", text, maxIndexEntries)
		}
		most = min(most, n)
	}
	return since, most, nil
}
