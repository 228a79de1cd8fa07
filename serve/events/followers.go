package events

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/athens-go/athens/internal/netguard"
)

// Reader is a server that follows this one, as it says itself.
type Reader struct {
	Name    string    `json:"name"`
	Address string    `json:"address"` // without a port
	Heard   time.Time `json:"heard"`   // when it said so last, UTC
	// LagEvents are the events that it has not applied, and LagTime is how long ago the first
	// of them was told; zero if there is none. Events that it may not see count.
	LagEvents int           `json:"lag_events"`
	LagTime   time.Duration `json:"lag_nanoseconds"`
	// Records are those of this server's ledger that it has verified, and LagRecords those
	// whose versions it lacks. Both are zero for one that follows the events alone.
	Records    int64 `json:"records"`
	LagRecords int64 `json:"lag_records"`
}

// Bounds of the list of followers. Each may give any name, and an address may have many.
const (
	maxListed     = 64
	maxFromOne    = 4 // of one address
	maxName       = 64
	listedTime    = time.Minute // after it was heard last
	reportTime    = 10 * time.Second
	reportTimeout = 10 * time.Second
)

// listed is what a follower has reported last.
type listed struct {
	heard                    time.Time
	cursor, records, lacking int64
}

// follows are the followers that were heard lately.
type follows struct {
	mu  sync.Mutex
	all map[followerKey]listed
}

type followerKey struct{ name, address string }

// note takes over what a request says of its client, if it says anything.
func (f *follows) note(r *http.Request, query url.Values, cursor int64) {
	name := query.Get("follower")
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsGraphic(r) }) {
		return
	}
	count := func(key string) int64 {
		n, err := strconv.ParseInt(query.Get(key), 10, 64)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	key := followerKey{name, addressOf(r)}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sweep()
	if _, known := f.all[key]; !known {
		same := 0
		for k := range f.all {
			if k.address == key.address {
				same++
			}
		}
		if same >= maxFromOne || len(f.all) >= maxListed {
			return
		}
	}
	if f.all == nil {
		f.all = map[followerKey]listed{}
	}
	f.all[key] = listed{time.Now(), cursor, count("records"), count("lacking")}
}

// sweep forgets those that are gone; the caller holds the lock.
func (f *follows) sweep() {
	for key, l := range f.all {
		if time.Since(l.heard) > listedTime {
			delete(f.all, key)
		}
	}
}

// addressOf is where a request comes from; addresses of one IPv6 network count as one.
func addressOf(r *http.Request) string {
	network := netguard.ClientNetwork(r.RemoteAddr)
	if !network.IsValid() {
		return ""
	}
	return netguard.DescribeNetwork(network)
}

// Readers returns the servers that follow this one and were heard in the last minute, by
// name: at most 64, of which 4 are at one address.
func (f *Feed) Readers() []Reader {
	v := f.look()
	f.follows.mu.Lock()
	defer f.follows.mu.Unlock()
	f.follows.sweep()
	all := []Reader{} // not null
	for key, l := range f.follows.all {
		one := Reader{Name: key.name, Address: key.address, Heard: l.heard.UTC(), Records: l.records, LagRecords: l.lacking}
		first := sort.Search(len(v.events), func(i int) bool { return v.events[i].Seq > l.cursor })
		if one.LagEvents = len(v.events) - first; one.LagEvents > 0 {
			one.LagTime = max(time.Since(v.events[first].Time), 0)
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b Reader) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Address, b.Address))
	})
	return all
}

// ServeReaders answers with Readers as JSON, for operators.
func (f *Feed) ServeReaders(w http.ResponseWriter, _ *http.Request) {
	data, err := json.Marshal(f.Readers())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(append(data, '\n')) // the client may have gone
}
