package fetcher

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"golang.org/x/mod/module"
)

// A reach is how far requests on behalf of a module path may go.
type reach struct {
	insecure bool // TLS is not demanded
	private  bool // addresses that are not public may be dialed
}

// reachOf says how far requests on behalf of path may go.
func (f *Fetcher) reachOf(path string) reach {
	return reach{
		insecure: module.MatchPrefixPatterns(f.opts.Insecure, path),
		private:  f.opts.Private != nil && f.opts.Private(path),
	}
}

// String is a prefix for keys: what was learned at one reach is not told at
// another.
func (r reach) String() string {
	var s string
	if r.insecure {
		s += "insecure "
	}
	if r.private {
		s += "private "
	}
	return s
}

// A forbidden is a refusal to connect to an address, on its way to become an
// [*athens.BlockedError]. It names the host that was asked for and not its
// address, which is nobody's business outside.
type forbidden struct{ host string }

func (e forbidden) Error() string {
	return fmt.Sprintf("the address of %s is not a public one; only what is private may be fetched from there", e.host)
}

// dialTimeout bounds one attempt to connect.
const dialTimeout = 30 * time.Second

// A dialFunc connects to an address as [net.Dialer.DialContext] does.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialer returns how the repository's server is connected to, where that is not
// by HTTP.
func (r *repo) dialer() dialFunc {
	if r.reach.private {
		return (&net.Dialer{Timeout: dialTimeout}).DialContext
	}
	return dialPublic(nil)
}

// dialPublic connects to public addresses only. It judges each address that
// the name resolved to, right before the connection, so that a name that
// resolves differently the next time gains nothing. A nil resolver is Go's own.
func dialPublic(resolver *net.Resolver) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{
			Timeout:  dialTimeout,
			Resolver: resolver,
			ControlContext: func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
				return judge(address, resolved)
			},
		}
		return d.DialContext(ctx, network, address)
	}
}

// judge returns nil if resolved, an address and port that asked for resolved
// to, is public.
func judge(asked, resolved string) error {
	ip, err := netip.ParseAddrPort(resolved)
	if err == nil && isPublic(ip.Addr()) {
		return nil
	}
	host, _, err := net.SplitHostPort(asked)
	if err != nil {
		host = asked
	}
	return forbidden{host}
}

// checked makes dial, which somebody else wrote, refuse addresses that are not
// public. That is only known once the connection is there: it is closed then,
// before anything was sent.
func checked(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if err := judge(address, conn.RemoteAddr().String()); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
}

func withoutContext(dial func(network, address string) (net.Conn, error)) dialFunc {
	return func(_ context.Context, network, address string) (net.Conn, error) { return dial(network, address) }
}

// A guardedTransport sends requests to public addresses only. Those that a
// proxy is to send have connections of their own: the proxy's address is the
// operator's choice.
type guardedTransport struct {
	proxy   func(*http.Request) (*url.URL, error)
	proxied http.RoundTripper
	direct  http.RoundTripper
}

func (t *guardedTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.proxy != nil {
		u, err := t.proxy(req)
		if err != nil {
			return nil, err
		}
		if u != nil {
			return t.proxied.RoundTrip(req)
		}
	}
	return t.direct.RoundTrip(req)
}

// CloseIdleConnections closes what is open and not in use.
func (t *guardedTransport) CloseIdleConnections() {
	for _, rt := range []http.RoundTripper{t.proxied, t.direct} {
		(&http.Client{Transport: rt}).CloseIdleConnections()
	}
}

// guarded returns base without the addresses that are not public, where t is of a
// kind that lets its connections be judged.
func guarded(base http.RoundTripper) http.RoundTripper {
	t, ok := base.(*http.Transport)
	if !ok {
		return base
	}
	direct := t.Clone()
	direct.Proxy = nil
	//lint:ignore SA1019 whoever still sets it is guarded too
	switch old := t.Dial; {
	case t.DialContext != nil:
		direct.DialContext = checked(t.DialContext)
	case old != nil:
		direct.DialContext = checked(withoutContext(old))
	default:
		direct.DialContext = dialPublic(nil)
	}
	//lint:ignore SA1019 as above
	switch old := t.DialTLS; {
	case t.DialTLSContext != nil:
		direct.DialTLSContext = checked(t.DialTLSContext)
	case old != nil:
		direct.DialTLSContext = checked(withoutContext(old))
	}
	return &guardedTransport{proxy: t.Proxy, proxied: t, direct: direct}
}

// closedRanges are the addresses of special purpose that the methods of
// [netip.Addr] do not name: see the IANA registries of IPv4 and IPv6
// special-purpose addresses.
var closedRanges = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // this network
	netip.MustParsePrefix("100.64.0.0/10"),   // carrier-grade NAT
	netip.MustParsePrefix("192.0.0.0/24"),    // protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // documentation
	netip.MustParsePrefix("192.88.99.0/24"),  // 6to4 relays
	netip.MustParsePrefix("198.18.0.0/15"),   // benchmarks
	netip.MustParsePrefix("198.51.100.0/24"), // documentation
	netip.MustParsePrefix("203.0.113.0/24"),  // documentation
	netip.MustParsePrefix("240.0.0.0/4"),     // reserved, and the broadcast address
	netip.MustParsePrefix("2001::/23"),       // protocol assignments, Teredo
	netip.MustParsePrefix("2001:db8::/32"),   // documentation
	netip.MustParsePrefix("3fff::/20"),       // documentation
}

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")     // all of IPv6 that is assigned to networks
	sixToFour     = netip.MustParsePrefix("2002::/16")    // an IPv4 address in bits 16 to 47
	nat64         = netip.MustParsePrefix("64:ff9b::/96") // an IPv4 address in the last 32 bits
)

// isPublic reports whether an address is one of the internet at large. An IPv4
// address inside an IPv6 one is judged itself.
func isPublic(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	if b := ip.As16(); ip.Is6() {
		switch {
		case sixToFour.Contains(ip):
			return isPublic(netip.AddrFrom4([4]byte(b[2:6])))
		case nat64.Contains(ip):
			return isPublic(netip.AddrFrom4([4]byte(b[12:16])))
		case !globalUnicast.Contains(ip):
			return false
		}
	}
	for _, r := range closedRanges {
		if r.Contains(ip) {
			return false
		}
	}
	return ip.IsValid() && ip.IsGlobalUnicast() && !ip.IsPrivate()
}
