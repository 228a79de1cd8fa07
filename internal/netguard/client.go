package netguard

import "net/netip"

// ClientNetwork returns what the sender of a request is told apart by: the address of an
// http.Request's RemoteAddr, and of an IPv6 address the first one of its /64, which one
// customer has. The zero Addr is a sender without an address, as of a socket file.
func ClientNetwork(remoteAddr string) netip.Addr {
	var addr netip.Addr
	if with, err := netip.ParseAddrPort(remoteAddr); err == nil {
		addr = with.Addr()
	} else if alone, err := netip.ParseAddr(remoteAddr); err == nil {
		addr = alone
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		addr = netip.PrefixFrom(addr, 64).Masked().Addr()
	}
	return addr
}

// DescribeNetwork names what [ClientNetwork] returned, for a log.
func DescribeNetwork(network netip.Addr) string {
	switch {
	case network.Is6():
		return network.String() + "/64"
	case network.IsValid():
		return network.String()
	}
	return "local"
}
