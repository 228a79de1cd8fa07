package netguard

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// No error of the network shows a client which resolver was asked or which address was
// dialed; what kind of error it is stays known.
func TestWithoutAddresses(t *testing.T) {
	tcp := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 443} }
	refused := errors.New("connect: connection refused")
	for want, err := range map[string]error{
		"dial tcp: connect: connection refused": &net.OpError{Op: "dial", Net: "tcp", Addr: tcp("10.1.2.3"), Err: refused},
		"read tcp: reset":                       &net.OpError{Op: "read", Net: "tcp", Source: tcp("10.1.2.3"), Addr: tcp("fd00::5"), Err: errors.New("reset")},
		"lookup a.test: no such host":           &net.DNSError{Err: "no such host", Name: "a.test", Server: "10.0.0.2:53"},
		"lookup b.test: read udp: i/o timeout":  &net.DNSError{Err: "read udp 10.9.8.7:4321->10.0.0.2:53: i/o timeout", Name: "b.test", Server: "10.0.0.2:53"},
		`Get "https://c.test/x": dial tcp: connect: connection refused`: &url.Error{Op: "Get", URL: "https://c.test/x",
			Err: &net.OpError{Op: "dial", Net: "tcp", Addr: tcp("fe80::1"), Err: refused}},
		"x509: certificate is valid for an address, not d.test":            errors.New("x509: certificate is valid for 10.0.0.1, not d.test"),
		"an address and an address":                                        errors.New("::1 and 169.254.1.1"),
		"module v1.2.3 at 1.2.3.4.example.test, 12:30:01.5, h1:abc, a:443": errors.New("module v1.2.3 at 1.2.3.4.example.test, 12:30:01.5, h1:abc, a:443"),
	} {
		clean := WithoutAddresses(err)
		assert.EqualError(t, clean, want)
		assert.ErrorIs(t, clean, err)
	}
	var dns *net.DNSError
	assert.ErrorAs(t, WithoutAddresses(fmt.Errorf("asking: %w", &net.DNSError{Err: "x", Name: "n", Server: "127.0.0.53:53"})), &dns)
	assert.NoError(t, WithoutAddresses(nil))
}

// A text that is made to show another address for each that is taken out ends as well.
func TestWithoutAddressesEnds(t *testing.T) {
	for _, part := range []string{"::%", "%::", "1.2.3.4%", "[::]", "::1."} {
		clean := hideAddresses("x " + strings.Repeat(part, 1000) + "::1")
		assert.Equal(t, clean, hideAddresses(clean), part)
	}
}

func FuzzWithoutAddresses(f *testing.F) {
	f.Add("dial tcp ", "10.0.0.1:443", ": refused")
	f.Add("lookup x on ", "[fe80::1%eth0]:53", ": no such host")
	f.Add("0", "::%::0", "0")
	f.Fuzz(func(t *testing.T, before, address, after string) {
		text := before + " " + address + " " + after
		clean := hideAddresses(text)
		if again := hideAddresses(clean); again != clean {
			t.Errorf("%q leaves %q, of which %q is left", text, clean, again)
		}
	})
}
