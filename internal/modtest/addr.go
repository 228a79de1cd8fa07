package modtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// FreeAddr returns an address on loopback where nothing listens. Its port is below
// those that systems give to programs which ask for any, so that no other test, and no
// connection, takes it before the caller does.
func FreeAddr(t testing.TB) string {
	t.Helper()
	var last error
	for range 100 {
		addr := fmt.Sprint("127.0.0.1:", 12_000+rand.N(18_000))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			_ = l.Close() // nobody has connected
			return addr
		}
		last = err
	}
	t.Fatalf("modtest: no free port: %v", last)
	return ""
}
