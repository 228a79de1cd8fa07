package web

import (
	"cmp"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/athens-go/athens"
)

// storeData is what takes room.
type storeData struct {
	shares
	Complete  bool // all modules were counted
	Added     int64
	Stats     *athens.Stats
	Evictions *Evictions
	Growth    *growth
}

// shares is what takes the bytes of the modules that were counted.
type shares struct {
	Modules, Versions int
	Bytes             int64
	Measured          int // modules whose size is known
	Hosts             []share
	Largest           []share
}

// Evictions is what a store with a bound holds, and what it has evicted since the start.
type Evictions struct {
	HeldBytes, MaxBytes int64
	Versions            uint64
	Bytes               int64
	Last                time.Time // zero: there was none
	Exceeded            bool      // nothing of what is too much may be evicted
}

// share is what takes some of the bytes.
type share struct {
	Name              string
	Modules, Versions int
	Bytes             int64
	Percent           int64
}

// perShare is how many hosts and modules are listed.
const perShare = 25

// store makes the page of the store.
func (q *request) store() (string, error) {
	q.Title, q.Section = "Store", "store"
	d := &storeData{Complete: true}
	q.Data = d
	known := q.index.now.Load().shares
	if known == nil || !q.reader.all { // a page asks about so many modules one by one
		asked := 0
		known = sharesOf(func(yield func(h *held) bool) {
			q.index.all("", func(h *held) bool {
				if asked++; asked > maxCounted {
					d.Complete = false
					return false
				}
				return !q.sees(h.path) || yield(h)
			})
		})
	}
	d.shares = *known
	_, sum := q.activity.traffic(slots, q.reader.all)
	d.Added = sum.stored
	d.Growth = q.growth()
	if q.opts.Stats != nil && q.reader.all {
		stats := q.opts.Stats()
		d.Stats = &stats
	}
	if q.opts.Evictions != nil && q.reader.all {
		evictions := q.opts.Evictions()
		d.Evictions = &evictions
	}
	return "store.html", nil
}

// sharesOf counts modules.
func sharesOf(modules iter.Seq[*held]) *shares {
	d := new(shares)
	hosts := map[string]*share{}
	var largest []share
	for h := range modules {
		name, _, _ := strings.Cut(h.path, "/")
		host := hosts[name]
		if host == nil {
			host = &share{Name: name}
			hosts[name] = host
		}
		host.Modules++
		host.Versions += int(h.count)
		host.Bytes += h.bytes
		d.Modules++
		d.Versions += int(h.count)
		d.Bytes += h.bytes
		if h.measured {
			d.Measured++
		}
		if len(largest) >= 4*perShare {
			largest = top(largest, perShare)
		}
		largest = append(largest, share{Name: h.path, Versions: int(h.count), Bytes: h.bytes})
	}
	var list []share
	for _, host := range hosts {
		list = append(list, *host)
	}
	d.Hosts, d.Largest = slices.Clone(top(list, perShare)), slices.Clone(top(largest, perShare))
	for _, some := range [][]share{d.Hosts, d.Largest} {
		for i := range some {
			some[i].Percent = 100 * some[i].Bytes / max(d.Bytes, 1)
		}
	}
	return d
}

// top returns the largest.
func top(all []share, n int) []share {
	slices.SortFunc(all, func(a, b share) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(b.Versions, a.Versions), strings.Compare(a.Name, b.Name))
	})
	return all[:min(n, len(all))]
}
