package ledgertest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
)

// zeroTime is the beginning.
var zeroTime time.Time

// readCases are about what a ledger says.
var readCases = []Case{
	{"records", "ReadRecords returns just the records asked for; what is not there yet is fs.ErrNotExist", alone(checkRecords)},
	{"tiles", "each tile of the newest tree is there in all its widths; tiles of the future and of other heights are fs.ErrNotExist", alone(checkTiles)},
	{"since", "Since yields the records of that time and later, in their order, each later than the one before", alone(checkSince)},
	{"copies", "what was returned may be changed", alone(checkCopies)},
}

func checkRecords(ctx context.Context, l athens.Ledger) error {
	const n = 6
	for i := range n {
		if _, err := NewSample(i, "").Add(ctx, l); err != nil {
			return err
		}
	}
	for from := range n + 1 {
		for to := from; to <= n; to++ {
			texts, err := l.ReadRecords(ctx, int64(from), int64(to-from))
			if err != nil || len(texts) != to-from {
				return fmt.Errorf("ReadRecords of %d from %d on returns %d, %v", to-from, from, len(texts), err)
			}
			for i, text := range texts {
				if want := NewSample(from+i, "").Text(); string(text) != want {
					return fmt.Errorf("record %d is %q, want %q", from+i, text, want)
				}
			}
		}
	}
	for _, bad := range [][2]int64{{n, 1}, {0, n + 1}, {-1, 1}, {math.MaxInt64, 1}, {1, math.MaxInt64}, {0, -1}} {
		_, err := l.ReadRecords(ctx, bad[0], bad[1])
		if err := missing(fmt.Sprintf("ReadRecords of %d from %d on", bad[1], bad[0]), err); err != nil {
			return err
		}
	}
	return nil
}

// checkTile checks whether a tile is there.
func checkTile(ctx context.Context, l athens.Ledger, h, level int, n int64, w int, there bool) error {
	t := tlog.Tile{H: h, L: level, N: n, W: w}
	data, err := l.ReadTileData(ctx, t)
	if !there {
		return missing("ReadTileData of "+t.Path(), err)
	}
	if err != nil {
		return fmt.Errorf("ReadTileData of %s: %w", t.Path(), err)
	}
	if len(data) != w*tlog.HashSize {
		return fmt.Errorf("ReadTileData of %s returns %d bytes, want %d", t.Path(), len(data), w*tlog.HashSize)
	}
	return nil
}

func checkTiles(ctx context.Context, l athens.Ledger) error {
	const n = 256 + 3
	ids, err := addMany(ctx, l, 0, n)
	if err != nil {
		return err
	}
	for w := 1; w <= 256; w++ {
		if err := checkTile(ctx, l, 8, 0, 0, w, true); err != nil {
			return err
		}
		if err := checkTile(ctx, l, 8, 0, 1, w, w <= 3); err != nil {
			return err
		}
		if err := checkTile(ctx, l, 8, 1, 0, w, w <= 1); err != nil {
			return err
		}
	}
	for _, t := range []tlog.Tile{
		{H: 8, L: 0, N: 2, W: 1}, {H: 8, L: 0, N: math.MaxInt64, W: 256}, {H: 8, L: 2, N: 0, W: 1}, {H: 8, L: 63, N: 0, W: 1},
		{H: 8, L: 63, N: math.MaxInt64, W: 256}, {H: 1, L: 0, N: 0, W: 2}, {H: 30, L: 0, N: 0, W: 1}, {H: 8, L: 0, N: 0, W: 257},
	} {
		if err := checkTile(ctx, l, t.H, t.L, t.N, t.W, false); err != nil {
			return err
		}
	}
	data, err := l.ReadTileData(ctx, tlog.Tile{H: 8, L: 0, N: 0, W: 256})
	if err != nil {
		return err
	}
	for id, i := range ids {
		h := tlog.RecordHash([]byte(NewSample(i, "").Text()))
		if id < 256 && string(data[id*tlog.HashSize:(id+1)*tlog.HashSize]) != string(h[:]) {
			return fmt.Errorf("the tile's hash of record %d is not that of its text", id)
		}
		if err := NewSample(i, "").Proved(ctx, l); id%16 == 0 && err != nil {
			return err
		}
	}
	return nil
}

func checkSince(ctx context.Context, l athens.Ledger) error {
	const n = 300
	begin := time.Now()
	ids, err := addMany(ctx, l, 0, n)
	if err != nil {
		return err
	}
	all, err := since(ctx, l, zeroTime)
	if err != nil {
		return err
	}
	if len(all) != n {
		return fmt.Errorf("Since yields %d records of %d", len(all), n)
	}
	for id, e := range all {
		s := NewSample(ids[int64(id)], "")
		if e.module != s.Module {
			return fmt.Errorf("record %d is of %s, want %s", id, e.module, s.Module)
		}
		if id > 0 && !e.at.After(all[id-1].at) {
			return fmt.Errorf("record %d has the time %v, which is not after %v", id, e.at, all[id-1].at)
		}
		if d := e.at.Sub(begin); d < -time.Hour || d > time.Hour || e.at.Location() != time.UTC {
			return fmt.Errorf("record %d has the time %v, and it is %v UTC now", id, e.at, begin.UTC())
		}
	}
	for _, i := range []int{0, 1, 128, 255, 256, 257, n - 1} {
		for d, want := range map[time.Duration]int{-1: n - i, 0: n - i, 1: n - i - 1} {
			at := all[i].at.Add(d)
			if d < 0 && i > 0 && !at.After(all[i-1].at) {
				want++ // the one before is a nanosecond older
			}
			part, err := since(ctx, l, at)
			if err != nil || len(part) != want {
				return fmt.Errorf("Since yields %d records from the time of record %d %+d ns on, %v, want %d", len(part), i, d, err, want)
			}
		}
	}
	yields := 0
	err = l.Since(ctx, zeroTime, func(module.Version, time.Time) bool {
		yields++
		return false // a caller that has enough may stop
	})
	if err != nil || yields != 1 {
		return fmt.Errorf("Since yields %d records, %v, after yield has returned false", yields, err)
	}
	return nil
}

// recorded is what Since yields of a record.
type recorded struct {
	module module.Version
	at     time.Time
}

// since collects what Since yields.
func since(ctx context.Context, l athens.Ledger, from time.Time) (all []recorded, err error) {
	err = l.Since(ctx, from, func(m module.Version, at time.Time) bool {
		all = append(all, recorded{m, at})
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("Since: %w", err)
	}
	return all, nil
}

func checkCopies(ctx context.Context, l athens.Ledger) error {
	for i := range 3 {
		if _, err := NewSample(i, "").Add(ctx, l); err != nil {
			return err
		}
	}
	signed, err1 := l.Signed(ctx)
	texts, err2 := l.ReadRecords(ctx, 0, 3)
	tile, err3 := l.ReadTileData(ctx, tlog.Tile{H: 8, L: 0, N: 0, W: 3})
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	for _, data := range append(texts, signed, tile) {
		clear(data)
	}
	for i := range 3 {
		if err := NewSample(i, "").Proved(ctx, l); err != nil {
			return err
		}
	}
	return nil
}
