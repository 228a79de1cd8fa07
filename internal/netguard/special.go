package netguard

import "net/netip"

// A special is a block of addresses that is not part of the internet at large.
type special struct {
	prefix netip.Prefix
	name   string
}

// specials are the blocks that aren't public. testdata/iana-special-purpose.csv has
// IANA's registries of IPv4 and IPv6 special-purpose addresses, and a test compares.
// All that they call not globally reachable is closed. This list is stricter:
//
//   - blocks that they call globally reachable are closed where they belong to a protocol
//     and not to hosts: anycast addresses and identifiers serve no modules, and a router
//     nearby may answer them (192.0.0.9, 192.0.0.10, AS112, AMT, ORCHIDv2, DET, and all
//     else in 2001::/23);
//   - 192.88.99.0/24 and 2001:10::/28, which were given up, and Teredo, whose addresses
//     hide others, stay closed;
//   - multicast and fec0::/10 (site-local, deprecated by RFC 3879) are of other registries.
//
// IPv6 outside of 2000::/3 is closed as a whole; blocks there are listed all the same, so
// that the list can be compared line by line. 6to4, NAT64 and IPv4-mapped addresses are
// judged by the IPv4 address in them, in IsPublic.
var specials = []special{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private use"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared address space"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link local"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private use"},
	{netip.MustParsePrefix("192.0.0.0/24"), "IETF protocol assignments"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation"},
	{netip.MustParsePrefix("192.31.196.0/24"), "AS112-v4"},
	{netip.MustParsePrefix("192.52.193.0/24"), "AMT"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay anycast"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private use"},
	{netip.MustParsePrefix("192.175.48.0/24"), "direct delegation AS112 service"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved, and limited broadcast"},

	{netip.MustParsePrefix("::1/128"), "loopback"},
	{netip.MustParsePrefix("::/128"), "unspecified"},
	{netip.MustParsePrefix("64:ff9b:1::/48"), "IPv4-IPv6 translation for local use"},
	{netip.MustParsePrefix("100::/64"), "discard only"},
	{netip.MustParsePrefix("100:0:0:1::/64"), "dummy prefix"},
	{netip.MustParsePrefix("2001::/23"), "IETF protocol assignments, Teredo, benchmarking, ORCHID"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation"},
	{netip.MustParsePrefix("2620:4f:8000::/48"), "direct delegation AS112 service"},
	{netip.MustParsePrefix("3fff::/20"), "documentation"},
	{netip.MustParsePrefix("5f00::/16"), "segment routing"},
	{netip.MustParsePrefix("fc00::/7"), "unique local"},
	{netip.MustParsePrefix("fe80::/10"), "link local"},
	{netip.MustParsePrefix("fec0::/10"), "site local, deprecated"},
	{netip.MustParsePrefix("ff00::/8"), "multicast"},
}

// clouds are addresses at which clouds answer their machines: metadata, credentials,
// time and names. Only the first lies outside of the blocks above; the others are
// listed so that no change of those opens them. testdata/clouds.csv names the source of
// each, and a test compares.
var clouds = []special{
	{netip.MustParsePrefix("168.63.129.16/32"), "Azure's wire server and resolver"},
	{netip.MustParsePrefix("169.254.169.254/32"), "metadata of AWS, Azure, Google, Oracle, Akamai and others"},
	{netip.MustParsePrefix("169.254.169.253/32"), "AWS's resolver"},
	{netip.MustParsePrefix("169.254.169.123/32"), "AWS's time"},
	{netip.MustParsePrefix("169.254.170.2/32"), "credentials of AWS's containers"},
	{netip.MustParsePrefix("169.254.170.23/32"), "credentials of AWS's pods"},
	{netip.MustParsePrefix("169.254.42.42/32"), "Scaleway's metadata"},
	{netip.MustParsePrefix("100.100.100.200/32"), "Alibaba's metadata"},
	{netip.MustParsePrefix("100.100.2.136/31"), "Alibaba's resolvers"},
	{netip.MustParsePrefix("100.100.2.138/32"), "Alibaba's resolvers"},
	{netip.MustParsePrefix("192.0.0.192/32"), "Oracle's metadata, formerly"},
	{netip.MustParsePrefix("fd00:ec2::254/128"), "AWS's metadata"},
	{netip.MustParsePrefix("fd00:ec2::253/128"), "AWS's resolver"},
	{netip.MustParsePrefix("fd00:ec2::123/128"), "AWS's time"},
	{netip.MustParsePrefix("fd00:ec2::23/128"), "credentials of AWS's pods"},
	{netip.MustParsePrefix("fd20:ce::254/128"), "Google's metadata"},
	{netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), "Oracle's metadata"},
	{netip.MustParsePrefix("fd00:42::42/128"), "Scaleway's metadata"},
	{netip.MustParsePrefix("fd00:a9fe:a9fe::1/128"), "Akamai's metadata"},
}

// closed reports whether ip lies in one of these blocks.
func closed(ip netip.Addr) bool {
	for _, list := range [...][]special{specials, clouds} {
		for _, s := range list {
			if s.prefix.Contains(ip) {
				return true
			}
		}
	}
	return false
}
