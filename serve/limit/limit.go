// Package limit bounds what each client may cost a server: requests in a second, and
// fetches in a minute.
//
//	limiter, err := limit.New(&limit.Options{RequestsPerSecond: 200, FetchesPerMinute: 600})
//	…
//	handler, err := athens.NewHandler(store, &athens.Options{AllowFetch: limiter.AllowFetch})
//	root := limiter.Requests(handler)
//
// The limiter answers a request beyond a limit with 429, with Retry-After and the name of
// the setting. If middleware has said which user asks (see [athens.RequestInfo] and package
// auth), the limits are those of the user. Otherwise they are those of the address that the
// request came from; the addresses of an IPv6 /64 count as one, because one customer has
// them all. Behind a load balancer, put serve.Proxies first: it gives each request the
// address of its client.
//
// Each client has a token bucket of golang.org/x/time/rate for each limit. The limiter
// remembers clients within [Options].MaxClientBytes. When there are more, it forgets the
// client whose buckets are full, or will be full first: that one loses least. So a client
// that is at its limit stays there, however many other addresses send requests.
package limit

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/time/rate"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/internal/retryafter"
)

// Options configures a [Limiter]. Its zero value limits nothing.
type Options struct {
	// Limits

	// RequestsPerSecond is how many requests a client may make in a second, on average.
	// Zero means no limit.
	RequestsPerSecond float64
	// RequestBurst is how many requests a client that has been quiet may make at once.
	// Zero means those of one second.
	RequestBurst int
	// FetchesPerMinute is how many requests of a client in a minute, on average, may make
	// the server fetch or schedule a fill. Zero means no limit.
	FetchesPerMinute float64
	// FetchBurst is how many of them a client that has been quiet may make at once. Zero
	// means those of one minute.
	FetchBurst int

	// Memory

	// MaxClientBytes bounds the memory for clients, of 700 bytes each. Zero means 16 MiB.
	MaxClientBytes int64

	// Reports

	// Logger receives a warning when a client reaches a limit, at most once a minute for
	// each client. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// budget is one of the limits.
type budget struct {
	each  rate.Limit // tokens a second; zero: no limit
	burst int
	what  string // for the client and the log: what it is about, and the name of the setting
}

// The budgets, as indexes.
const (
	requests = iota
	fetches
	budgets
)

// Limiter limits what clients cost. All methods may be called at once. Make one with [New].
type Limiter struct {
	budgets [budgets]budget
	clients *clients
	log     *slog.Logger
}

// New returns a Limiter. A nil opts means the zero [Options].
func New(opts *Options) (*Limiter, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	for name, value := range map[string]float64{"RequestsPerSecond": o.RequestsPerSecond, "FetchesPerMinute": o.FetchesPerMinute} {
		if !(value >= 0 && value <= 1e9) { // not a number, too
			return nil, fmt.Errorf("limit: %s is %v, not between 0 and 1e9", name, value)
		}
	}
	if o.RequestBurst < 0 || o.FetchBurst < 0 || o.MaxClientBytes < 0 {
		return nil, errors.New("limit: RequestBurst, FetchBurst and MaxClientBytes must not be negative")
	}
	if o.MaxClientBytes == 0 {
		o.MaxClientBytes = 16 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Limiter{log: o.Logger}
	l.budgets = [budgets]budget{
		requests: newBudget(o.RequestsPerSecond, 1, o.RequestBurst, "requests a second (limit-requests)"),
		fetches:  newBudget(o.FetchesPerMinute, 60, o.FetchBurst, "fetches a minute (limit-fetches)"),
	}
	l.clients = newClients(int(max(o.MaxClientBytes/clientBytes, 1)), l.budgets)
	return l, nil
}

// newBudget returns a budget of some tokens in so many seconds.
func newBudget(tokens float64, seconds float64, burst int, what string) budget {
	if burst == 0 {
		burst = max(int(math.Ceil(tokens)), 1)
	}
	return budget{rate.Limit(tokens / seconds), burst, fmt.Sprintf("this server allows each client %v %s", tokens, what)}
}

// Requests returns a handler that passes requests on to next as long as their client may
// make some. A GET or HEAD of /healthz or /readyz is passed on always, and counts nothing.
func (l *Limiter) Requests(next http.Handler) http.Handler {
	if l.budgets[requests].each == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if protocol.IsProbe(r) {
			next.ServeHTTP(w, r)
			return
		}
		if err := l.take(r, requests); err != nil {
			code, retry := athens.Status(err)
			retryafter.Set(w.Header(), retry)
			w.Header().Set("Cache-Control", "no-store")
			http.Error(w, err.Error(), code)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// AllowFetch is for [athens.Options].AllowFetch: a request that costs a fetch is counted,
// and refused with an [*athens.RefusedError] of Status 429 when its client has made too many.
func (l *Limiter) AllowFetch(r *http.Request, _ module.Version) error {
	return l.take(r, fetches)
}

// take takes a token from one of the buckets of the client of r.
func (l *Limiter) take(r *http.Request, which int) error {
	b := l.budgets[which]
	if b.each == 0 {
		return nil
	}
	who := clientOf(r)
	wait, warn := l.clients.take(who, which, time.Now())
	if wait == 0 {
		return nil
	}
	if warn {
		l.log.Warn("client has reached its limit", "client", who.String(), "error", b.what)
	}
	return &athens.RefusedError{Status: http.StatusTooManyRequests, Reason: b.what + "; try again later", RetryAfter: wait}
}
