package serve

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Proxies are the load balancers and reverse proxies that may say whose requests they pass
// on. The zero Proxies trusts none. Make one with [ParseProxies].
type Proxies struct {
	networks []netip.Prefix
	socket   bool // what comes by a socket file comes from one of them
}

// ParseProxies reads a list such as "10.0.0.0/8,fd00::/8,192.0.2.1": networks and single
// addresses, separated by commas. The word unix stands for what connects to a socket file.
// An empty list is no proxy.
func ParseProxies(list string) (Proxies, error) {
	var p Proxies
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		if item == "unix" {
			p.socket = true
			continue
		}
		network, err := netip.ParsePrefix(item)
		if err != nil {
			addr, addrErr := netip.ParseAddr(item)
			if addrErr != nil || addr.Zone() != "" {
				return Proxies{}, fmt.Errorf("serve: trusted proxy %q is neither a network, such as 10.0.0.0/8, nor an address nor unix", item)
			}
			network = netip.PrefixFrom(addr, addr.BitLen())
		}
		if network.Addr().Is4In6() && network.Bits() >= 96 {
			network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
		}
		p.networks = append(p.networks, network.Masked())
	}
	return p, nil
}

// forwarded are the headers that only a trusted proxy may set.
var forwarded = [...]string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"}

// Clients returns a handler that passes on to next each request as its client's: with the
// RemoteAddr, with port 0, that the last trusted proxy in X-Forwarded-For names. So the
// log, [athens.Options].Observe and package limit have the client's address. Of a request
// from elsewhere the headers X-Forwarded-For, -Proto and -Host are removed, and RemoteAddr
// stays as it is.
func (p Proxies) Clients(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, p.client(r)) // the server's own w, so that the kernel still copies files
	})
}

// client returns r as a request of its client.
func (p Proxies) client(r *http.Request) *http.Request {
	if !slices.ContainsFunc(forwarded[:], func(name string) bool { return len(r.Header[name]) > 0 }) {
		return r
	}
	changed := *r
	if !p.trusts(r.RemoteAddr) {
		changed.Header = r.Header.Clone()
		for _, name := range forwarded {
			delete(changed.Header, name)
		}
		return &changed
	}
	addr, ok := p.last(r.Header["X-Forwarded-For"])
	if !ok {
		return r
	}
	changed.RemoteAddr = netip.AddrPortFrom(addr, 0).String()
	return &changed
}

// trusts reports whether an address, with or without a port, is of a trusted proxy.
func (p Proxies) trusts(remote string) bool {
	addr, ok := parseAddr(remote)
	if !ok {
		return p.socket // the peer at a socket file has no address
	}
	return p.contains(addr)
}

func (p Proxies) contains(addr netip.Addr) bool {
	return slices.ContainsFunc(p.networks, func(n netip.Prefix) bool { return n.Contains(addr) })
}

// last returns the last address that is not of a trusted proxy: each proxy appends the
// address that it got the request from, and before the first trusted one a client may have
// written anything. If all are trusted, it is the first of them. What is no address ends
// the search: the proxy after it is the last to be known.
func (p Proxies) last(values []string) (client netip.Addr, ok bool) {
	for _, value := range slices.Backward(values) {
		for value != "" {
			rest, item := "", value
			if i := strings.LastIndexByte(value, ','); i >= 0 {
				rest, item = value[:i], value[i+1:]
			}
			value, item = rest, strings.TrimSpace(item)
			if item == "" {
				continue
			}
			addr, valid := parseAddr(item)
			if !valid {
				return client, ok
			}
			client, ok = addr, true
			if !p.contains(addr) {
				return client, ok
			}
		}
	}
	return client, ok
}

// parseAddr reads an address with or without a port, and without a zone.
func parseAddr(text string) (netip.Addr, bool) {
	if with, err := netip.ParseAddrPort(text); err == nil {
		return with.Addr().Unmap().WithZone(""), true
	}
	addr, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return addr.Unmap().WithZone(""), err == nil
}
