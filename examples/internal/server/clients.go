package server

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/athens-go/athens/serve"
	"github.com/athens-go/athens/serve/limit"
)

// allowance is the value of -limit-requests and -limit-fetches: a number, and how many may
// come at once.
type allowance struct {
	number float64
	burst  int
}

// String returns the value as Set reads it.
func (a *allowance) String() string {
	text := strconv.FormatFloat(a.number, 'f', -1, 64)
	if a.burst > 0 {
		text += ":" + strconv.Itoa(a.burst)
	}
	return text
}

// Set reads NUMBER or NUMBER:BURST.
func (a *allowance) Set(text string) error {
	number, burst, hasBurst := strings.Cut(text, ":")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || !(n >= 0 && n <= 1e9) {
		return fmt.Errorf("%q is no number from 0 to 1e9", number)
	}
	a.number, a.burst = n, 0
	if hasBurst {
		if a.burst, err = strconv.Atoi(burst); err != nil || a.burst < 1 {
			return fmt.Errorf("the burst %q is no number above 0", burst)
		}
	}
	return nil
}

// clientFlags are about those who ask.
type clientFlags struct {
	requests, fetches allowance
	logins            int
	proxies           serve.Proxies
}

// clientFlags defines them.
func (f *Flags) clientFlags() {
	f.Var(&f.clients.requests, "limit-requests", "let each client make this `number` of requests per second, NUMBER or NUMBER:BURST, where BURST is how many may\ncome at once; 0 means no limit. Requests with a token count for its user, others for their address (for IPv6, its /64)")
	f.Var(&f.clients.fetches, "limit-fetches", "let each client cause this `number` of fetches and fills per minute, NUMBER or NUMBER:BURST; 0 means no limit")
	f.IntVar(&f.clients.logins, "limit-logins", 10, "with -tokens, check at most this `number` of wrong logins of an address at once and per minute, and refuse\nfurther ones unchecked; 0 means no limit")
	f.Func("trusted-proxy", "take the client's address and scheme from X-Forwarded-For and X-Forwarded-Proto if a request comes from these\n`networks`, such as 10.0.0.0/8,192.0.2.1; 'unix' means every client of a socket file. Empty means from none", func(list string) error {
		proxies, err := serve.ParseProxies(list)
		f.clients.proxies = proxies
		return err
	})
}

// useLimits makes the limits of each client, if there are any.
func (p *Parts) useLimits() error {
	c := &p.Flags.clients
	if c.requests.number == 0 && c.fetches.number == 0 {
		return nil
	}
	limiter, err := limit.New(&limit.Options{
		RequestsPerSecond: c.requests.number, RequestBurst: c.requests.burst,
		FetchesPerMinute: c.fetches.number, FetchBurst: c.fetches.burst,
		Logger: p.Log,
	})
	if err != nil {
		return errors.Join(errors.New("-limit-requests, -limit-fetches"), err)
	}
	p.limiter = limiter
	if c.fetches.number > 0 {
		p.Options.AllowFetch = limiter.AllowFetch
	}
	return nil
}

// limited puts the limit of requests before a handler.
func (p *Parts) limited(next http.Handler) http.Handler {
	if p.limiter == nil {
		return next
	}
	return p.limiter.Requests(next)
}
