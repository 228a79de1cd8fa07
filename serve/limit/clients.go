package limit

import (
	"container/heap"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/netguard"
)

const (
	// clientBytes is the memory of a client at most: its buckets, its places in the map
	// and in the heap, and its name.
	clientBytes = 700
	// maxName is how long the name of a user may be, in bytes, before its hash stands for it.
	maxName = 64
	// maxWait bounds what a client is told to wait for.
	maxWait = 24 * time.Hour
	// warnInterval is how often the log has that one client is at its limit.
	warnInterval = time.Minute
)

// identity is who a request counts for: a user, or a network of addresses.
type identity struct {
	user string
	net  netip.Addr // the first address of an IPv6 /64; zero: no address, as of a socket file
}

// clientOf returns who a request counts for.
func clientOf(r *http.Request) identity {
	if user := athens.RequestInfoFrom(r.Context()).User; user != "" {
		if len(user) > maxName {
			sum := sha256.Sum256([]byte(user))
			user = hex.EncodeToString(sum[:])
		}
		return identity{user: user}
	}
	return identity{net: netguard.ClientNetwork(r.RemoteAddr)}
}

func (i identity) String() string {
	if i.user != "" {
		return i.user
	}
	return netguard.DescribeNetwork(i.net)
}

// client is what one of them has left.
type client struct {
	who     identity
	buckets [budgets]*rate.Limiter // nil: there is no such limit
	fullAt  time.Time              // when all buckets are full, if it makes no more requests
	warned  time.Time
	place   int // in the heap
}

// clients are those that are remembered: all whose buckets are not full, as long as they
// are not too many.
type clients struct {
	most    int
	budgets [budgets]budget

	mu   sync.Mutex
	by   map[identity]*client
	heap byFullAt
}

func newClients(most int, budgets [budgets]budget) *clients {
	return &clients{most: most, budgets: budgets, by: make(map[identity]*client)}
}

// take takes a token from a bucket of a client. If there is none, it returns how long the
// client has to wait for one, and whether the log should have it.
func (c *clients) take(who identity, which int, now time.Time) (wait time.Duration, warn bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.by[who]
	if one == nil {
		one = c.add(who, now)
	}
	bucket := one.buckets[which]
	if !bucket.AllowN(now, 1) {
		wait = max(seconds((1-bucket.TokensAt(now))/float64(bucket.Limit())), 1)
		if warn = now.Sub(one.warned) >= warnInterval; warn {
			one.warned = now
		}
	}
	for _, b := range one.buckets {
		if b != nil {
			full := now.Add(seconds((float64(b.Burst()) - b.TokensAt(now)) / float64(b.Limit())))
			if full.After(one.fullAt) {
				one.fullAt = full
			}
		}
	}
	heap.Fix(&c.heap, one.place)
	return wait, warn
}

// seconds is a time of at most maxWait.
func seconds(s float64) time.Duration {
	return time.Duration(min(s, maxWait.Seconds()) * float64(time.Second))
}

// add remembers a client, and forgets one if there are too many.
func (c *clients) add(who identity, now time.Time) *client {
	for len(c.heap) > 0 && (len(c.heap) >= c.most || !c.heap[0].fullAt.After(now)) {
		delete(c.by, heap.Pop(&c.heap).(*client).who)
	}
	one := &client{who: who, fullAt: now}
	for i, b := range c.budgets {
		if b.each > 0 {
			one.buckets[i] = rate.NewLimiter(b.each, b.burst)
		}
	}
	c.by[who] = one
	heap.Push(&c.heap, one)
	return one
}

// byFullAt is a heap whose first client loses least when it is forgotten.
type byFullAt []*client

func (h byFullAt) Len() int           { return len(h) }
func (h byFullAt) Less(i, j int) bool { return h[i].fullAt.Before(h[j].fullAt) }

func (h byFullAt) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push and Pop are for package heap.
func (h *byFullAt) Push(x any) {
	one := x.(*client)
	one.place = len(*h)
	*h = append(*h, one)
}

func (h *byFullAt) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
