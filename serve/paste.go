package serve

import (
	"fmt"
	"net"
	"strings"
)

// PasteLine returns what to paste into a shell so that the go command uses the
// server at url, for modules that match the patterns in private as well: with GOPRIVATE alone it
// would go around the proxy, and without GONOSUMDB it would ask the checksum database
// for them.
func PasteLine(url, private string) string {
	return fmt.Sprintf("export GOPROXY=%s GONOPROXY=none GONOSUMDB=%s", Quote(url), Quote(private))
}

// PasteVerifiedLine is PasteLine for a server with a checksum database that knows all
// its modules, private ones too; sumdb is its key, NAME+HASH+KEY. Where there are private
// patterns, clients may have them in GOPRIVATE, which would keep these modules from being
// verified; "none" takes its place.
func PasteVerifiedLine(url, sumdb, private string) string {
	line := fmt.Sprintf("export GOPROXY=%s GOSUMDB=%s", Quote(url), Quote(sumdb))
	if private != "" {
		line += " GOPRIVATE=none"
	}
	return line
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

// LocalHost returns the host:port by which a client on this machine reaches a server
// that listens on addr: 127.0.0.1 where addr is of all interfaces.
func LocalHost(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr.String()
}
