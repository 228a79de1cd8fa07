package auth

import (
	"log/slog"
	"math"
	"net/http"
	"net/netip"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/netguard"
)

const (
	// maxAddresses is how many addresses with wrong logins are remembered.
	maxAddresses = 10_000
	// warnInterval is how often the log has that one address presents wrong logins.
	warnInterval = time.Minute
)

// wrongLogins bounds the wrong logins of each address: a number at once, and as many in a
// minute. A nil *wrongLogins bounds nothing.
type wrongLogins struct {
	most  float64
	log   *slog.Logger
	spent *cache.Cache[guess, spent]
}

// guess is who presents a wrong login, and for which token. A token without a check has a
// number of its own, since the right secret can't be told from the others without the hash.
type guess struct {
	who  netip.Addr
	name string // empty: of any other
}

func guessOf(r *http.Request, t *token) guess {
	g := guess{who: netguard.ClientNetwork(r.RemoteAddr)}
	if t != nil && t.check == "" {
		g.name = t.Name
	}
	return g
}

// spent is what somebody has spent of the wrong logins.
type spent struct {
	wrong      float64 // at a time
	pending    float64 // logins that are being compared
	at, warned time.Time
}

func newWrongLogins(most int, log *slog.Logger) *wrongLogins {
	if most < 0 {
		return nil
	}
	const each = 450 // bytes, roughly what the cache counts for an entry
	return &wrongLogins{float64(most), log, cache.New(maxAddresses*each, func(guess, spent) int64 { return 0 })}
}

// look returns how long somebody has to wait before the next wrong login, zero if it may come
// now. What is being compared may be right, and does not count.
func (w *wrongLogins) look(g guess) (wait time.Duration) {
	return w.spend(g, func(s *spent, most float64) (over float64) { return s.wrong + 1 - most })
}

// begin counts a login that is to be compared, if it may be wrong. Otherwise it returns how
// long somebody has to wait. The caller tells end what became of the login.
func (w *wrongLogins) begin(g guess) (wait time.Duration) {
	return w.spend(g, func(s *spent, most float64) (over float64) {
		if over = s.wrong + s.pending + 1 - most; over <= 0 {
			s.pending++
		}
		return over
	})
}

// end counts a login that begin has counted for good if it was wrong.
func (w *wrongLogins) end(g guess, wrong bool) {
	w.spend(g, func(s *spent, _ float64) (over float64) {
		s.pending = max(s.pending-1, 0) // it may have been forgotten
		if wrong {
			s.wrong++
		}
		return 0
	})
}

// count counts a wrong login.
func (w *wrongLogins) count(g guess) (wait time.Duration) {
	if wait = w.begin(g); wait == 0 {
		w.end(g, true)
	}
	return wait
}

// spend changes what somebody has spent. Change returns how many logins that is over the
// bound.
func (w *wrongLogins) spend(g guess, change func(s *spent, most float64) (over float64)) (wait time.Duration) {
	if w == nil {
		return 0
	}
	warn := false
	w.spent.Update(g, func(s spent) spent {
		now := time.Now() // not before: another caller's time would be later than this one's
		s.wrong = max(s.wrong-now.Sub(s.at).Minutes()*w.most, 0)
		s.at = now
		if over := change(&s, w.most); over > 0 {
			wait = max(time.Duration(math.Ceil(over/w.most*60))*time.Second, time.Second)
			if warn = now.Sub(s.warned) >= warnInterval; warn {
				s.warned = now
			}
		}
		return s
	})
	if warn {
		w.log.Warn("client presents wrong logins", "client", netguard.DescribeNetwork(g.who))
	}
	return wait
}

// tooMany is the answer to a login of an address that has presented too many wrong ones.
func tooMany(wait time.Duration) error {
	return &athens.RefusedError{Status: http.StatusTooManyRequests, Reason: "too many wrong logins came from this address: check the token, and try again later", RetryAfter: wait}
}
