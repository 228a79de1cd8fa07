// Package netguard connects to the public internet only: another party's page, redirect
// or DNS name must not lead this server to a private address.
package netguard

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
)

// Forbidden is a refusal to connect to an address. It names the requested host but not its
// address, which clients must not learn.
type Forbidden struct{ Host string }

func (e Forbidden) Error() string {
	return fmt.Sprintf("the address of %s is not a public one; only paths that are private (GOPRIVATE, Options.Private) may be fetched from there", e.Host)
}

// DialTimeout bounds one attempt to connect: a host whose network drops the first
// packets is tried four times until then.
const DialTimeout = 10 * time.Second

// A DialFunc connects to an address as [net.Dialer.DialContext] does.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// Dial connects to public addresses only. It checks each resolved address right before the
// connection, so a name that resolves differently the next time gains nothing. A nil resolver
// means Go's own.
func Dial(resolver *net.Resolver) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		d := net.Dialer{
			Timeout:  DialTimeout,
			Resolver: resolver,
			ControlContext: func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
				return judge(address, resolved)
			},
		}
		return d.DialContext(ctx, network, address)
	}
}

// judge returns nil if resolved is a public address with a port. Asked is the name that
// resolved to it.
func judge(asked, resolved string) error {
	ip, err := netip.ParseAddrPort(resolved)
	if err == nil && IsPublic(ip.Addr()) {
		return nil
	}
	host, _, err := net.SplitHostPort(asked)
	if err != nil {
		host = asked
	}
	return Forbidden{host}
}

// checked makes a dial function of the embedder refuse addresses that are not public. The address
// is only known once the connection exists; it is then closed before anything is sent.
func checked(dial DialFunc) DialFunc {
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

func withoutContext(dial func(network, address string) (net.Conn, error)) DialFunc {
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

// Transport returns base without the addresses that are not public, where t is of a
// kind that lets its connections be judged.
func Transport(base http.RoundTripper) http.RoundTripper {
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
		direct.DialContext = Dial(nil)
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

var (
	globalUnicast = netip.MustParsePrefix("2000::/3")     // all of IPv6 that is assigned to networks
	sixToFour     = netip.MustParsePrefix("2002::/16")    // an IPv4 address in bits 16 to 47
	nat64         = netip.MustParsePrefix("64:ff9b::/96") // an IPv4 address in the last 32 bits
)

// IsPublic reports whether an address is one of the internet at large. An IPv4
// address inside an IPv6 one is judged itself.
func IsPublic(ip netip.Addr) bool {
	ip = ip.WithZone("").Unmap()
	if b := ip.As16(); ip.Is6() {
		switch {
		case sixToFour.Contains(ip):
			return IsPublic(netip.AddrFrom4([4]byte(b[2:6])))
		case nat64.Contains(ip):
			return IsPublic(netip.AddrFrom4([4]byte(b[12:16])))
		case !globalUnicast.Contains(ip):
			return false
		}
	}
	return ip.IsValid() && ip.IsGlobalUnicast() && !ip.IsPrivate() && !closed(ip)
}
