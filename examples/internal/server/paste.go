package server

import (
	"fmt"
	"net"
	"strings"
)

// Paste returns what to paste into a shell so that the go command uses the
// server at url, for the private modules too: with GOPRIVATE alone it would go
// around the proxy, and without GONOSUMDB ask the checksum database for them.
func Paste(url, private string) string {
	return fmt.Sprintf("export GOPROXY=%s GONOPROXY=none GONOSUMDB=%s", url, Quote(private))
}

// Quote makes s one word for a shell.
func Quote(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./,:@%+=", r)
	}
	if strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Host returns how a client on this machine names addr.
func Host(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr.String()
}
