package netguard

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Which addresses are public, also those that hide in others.
func TestIsPublic(t *testing.T) {
	for address, want := range map[string]bool{
		"192.0.66.1": true, "8.8.8.8": true, "100.63.255.255": true, "172.32.0.1": true, "2606:4700::1111": true,
		"::ffff:8.8.8.8": true, "64:ff9b::808:808": true, "2002:808:808::1": true,

		"127.0.0.1": false, "127.255.255.254": false, "0.0.0.0": false, "0.1.2.3": false,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "100.127.255.255": false,
		"192.0.0.1": false, "192.0.2.1": false, "198.18.0.1": false, "198.51.100.1": false, "203.0.113.1": false,
		"224.0.0.1": false, "239.255.255.255": false, "240.0.0.1": false, "255.255.255.255": false,
		"::1": false, "::": false, "fc00::1": false, "fd12:3456::1": false, "fe80::1": false, "fe80::1%eth0": false,
		"fec0::1": false, "ff02::1": false, "2001:db8::1": false, "2001::1": false, "100::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "::8.8.8.8": false,
		"168.63.129.16": false, "::ffff:168.63.129.16": false, "64:ff9b::a83f:8110": false, "2002:a83f:8110::1": false, "168.63.129.17": true,
		"100.100.100.200": false, "fd00:ec2::254": false, "fd20:ce::254": false, "192.31.196.1": false, "192.175.48.6": false,
		"2620:4f:8000::6": false, "2620:4f:8001::": true, "3fff::1": false, "5f00::1": false,
		"64:ff9b::7f00:1": false, "64:ff9b::a9fe:a9fe": false, "64:ff9b:1::808:808": false,
		"2002:7f00:1::1": false, "2002:a00:1::": false,
	} {
		assert.Equal(t, want, IsPublic(netip.MustParseAddr(address)), address)
	}
	assert.False(t, IsPublic(netip.Addr{}))
}

// The first and the last address of each special block, also inside of an IPv6 address,
// are not public.
func TestSpecialBlocks(t *testing.T) {
	for _, s := range slices.Concat(specials, clouds) {
		require.Equal(t, s.prefix, s.prefix.Masked(), s.name)
		for _, ip := range ends(s.prefix) {
			assert.False(t, IsPublic(ip), "%s (%s)", ip, s.name)
			if ip.Is4() {
				four := ip.As4()
				assert.False(t, IsPublic(netip.AddrFrom16(ip.As16())), "%s (%s) mapped", ip, s.name)
				assert.False(t, IsPublic(netip.AddrFrom16([16]byte{0: 0, 1: 0x64, 2: 0xff, 3: 0x9b, 12: four[0], 13: four[1], 14: four[2], 15: four[3]})), "%s (%s) by NAT64", ip, s.name)
				assert.False(t, IsPublic(netip.AddrFrom16([16]byte{0x20, 0x02, four[0], four[1], four[2], four[3]})), "%s (%s) by 6to4", ip, s.name)
			}
		}
	}
}

// nameServer answers each question for a name with the next of its addresses,
// over UDP on loopback, as the owner of a name can.
type nameServer struct {
	conn  net.PacketConn
	asked atomic.Int64
}

func newNameServer(t *testing.T, addresses ...netip.Addr) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &nameServer{conn: conn}
	done := make(chan struct{})
	go func() {
		defer close(done)
		question := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(question)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(s.answer(question[:n], addresses), from)
		}
	}()
	t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return s
}

// answer makes a DNS message: a header, the question again, and for a question
// for an IPv4 address one answer with no time to live.
func (s *nameServer) answer(question []byte, addresses []netip.Addr) []byte {
	end := 12 + bytes.IndexByte(question[12:], 0) + 5 // name, its end, type, class
	answer := append([]byte(nil), question[:end]...)
	answer[2], answer[3] = 0x84, 0 // an answer with authority, without error
	clear(answer[6:12])
	if question[end-3] != 1 {
		return answer // of another type than A: there is none
	}
	i := s.asked.Add(1) - 1
	answer[7] = 1
	answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4)
	address := addresses[min(int(i), len(addresses)-1)].As4()
	return append(answer, address[:]...)
}

func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

// A name that is public when it is looked at, and leads inside when it is
// connected to, is judged by the address of the connection.
func TestRebinding(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	names := newNameServer(t, netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("127.0.0.1"))
	resolver := names.resolver()

	first, err := resolver.LookupHost(t.Context(), "rebound.test")
	require.NoError(t, err)
	require.Equal(t, []string{"8.8.8.8"}, first)
	_, err = Dial(resolver)(t.Context(), "tcp", "rebound.test:"+port)
	var refused Forbidden
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, "rebound.test", refused.Host)
	assert.EqualValues(t, 2, names.asked.Load())

	// The name leads there, where that is allowed.
	conn, err := (&net.Dialer{Resolver: resolver}).DialContext(t.Context(), "tcp", "rebound.test:"+port)
	require.NoError(t, err)
	assert.NoError(t, conn.Close())
}
