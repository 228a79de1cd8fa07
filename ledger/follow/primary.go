package follow

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/sumlog"
)

// The bounds of the primary's answers in bytes. The primary itself bounds what it reads;
// these are what each answer may have.
const (
	maxHead   = sumlog.MaxHead
	maxLookup = 32 + sumlog.MaxText + sumlog.MaxHead
	maxBundle = sumlog.Full * (sumlog.MaxText + 1)
)

// get asks the primary for a part of the database.
func (f *Follower) get(ctx context.Context, path string, most int) ([]byte, error) {
	if f.primary == nil {
		return nil, &athens.UnavailableError{Source: "the primary", Err: errors.New("this server is offline")}
	}
	body, err := f.primary.SumDB(ctx, "sumdb/"+f.name+"/"+path)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err == nil && len(body) > most {
		return nil, f.wrong("%s has %d bytes, more than %d", path, len(body), most)
	}
	return body, err
}

// readTiles reads tiles of hashes.
func (f *Follower) readTiles(ctx context.Context, list []tlog.Tile) ([][]byte, error) {
	all, errs := make([][]byte, len(list)), make([]error, len(list))
	var group sync.WaitGroup
	for i, t := range list {
		var held bool
		if all[i], held = f.tiles.Get(t); held {
			continue
		}
		group.Go(func() {
			size := t.W * tlog.HashSize
			all[i], errs[i] = f.get(ctx, t.Path(), size)
			if errs[i] == nil && len(all[i]) != size {
				errs[i] = f.wrong("%s has %d bytes, not %d", t.Path(), len(all[i]), size)
			}
		})
	}
	group.Wait()
	for i, t := range list {
		if errs[i] != nil {
			return nil, f.lacks(t, errs[i])
		}
	}
	return all, nil
}

// lacks is the error of a tile: one that a signed tree has can't be missing.
func (f *Follower) lacks(t tlog.Tile, err error) error {
	if _, missing := errors.AsType[*athens.MissingError](err); missing {
		return f.wrong("it has no %s, which the signed tree has: %w", t.Path(), err)
	}
	return err
}

// bundle is up to 256 records on their way.
type bundle struct {
	n     int64
	texts *flight.Future[[][]byte]
}

// readBundle requests the first records of bundle number n.
func (f *Follower) readBundle(ctx context.Context, n, records int64) *bundle {
	return &bundle{n, flight.Start(func() ([][]byte, error) {
		t := tlog.Tile{H: sumlog.Height, L: -1, N: n, W: int(records)}
		data, err := f.get(ctx, t.Path(), maxBundle)
		if err != nil {
			return nil, f.lacks(t, err)
		}
		texts, err := parseBundle(data, t.W)
		if err != nil {
			return nil, f.wrong("%s: %w", t.Path(), err)
		}
		return texts, nil
	})}
}

func (b *bundle) wait(ctx context.Context) ([][]byte, error) { return b.texts.Wait(ctx) }

// parseBundle reads the records of a tile: there must be n, each followed by an empty line.
func parseBundle(data []byte, n int) ([][]byte, error) {
	texts := make([][]byte, 0, n)
	for len(texts) < n {
		text, rest, ok := bytes.Cut(data, []byte("\n\n"))
		if !ok {
			return nil, fmt.Errorf("it has %d records, not %d", len(texts), n)
		}
		text = data[: len(text)+1 : len(text)+1]
		if _, _, _, err := sumlog.ParseText(text); err != nil {
			return nil, err
		}
		texts, data = append(texts, text), rest
	}
	if len(data) > 0 {
		return nil, fmt.Errorf("it has more than %d records", n)
	}
	return texts, nil
}

// parseLookup reads the answer to a look-up: the record of m, and a signed head.
func parseLookup(data []byte, m module.Version) (id int64, signed []byte, err error) {
	id, text, rest, err := tlog.ParseRecord(data)
	if err != nil {
		return 0, nil, err
	}
	got, _, _, err := sumlog.ParseText(text)
	if err == nil && got != m {
		err = fmt.Errorf("it is the record of %s", got)
	}
	return id, slices.Clone(rest), err
}

// lookupPath is where the primary answers for a version.
func lookupPath(m module.Version) (string, error) {
	path, err := module.EscapePath(m.Path)
	if err != nil {
		return "", err
	}
	version, err := module.EscapeVersion(m.Version)
	return "lookup/" + path + "@" + version, err
}
