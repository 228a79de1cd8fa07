package fetcher

import (
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
)

// gitPort is the port of git's own protocol, which has no authentication.
const gitPort = "9418"

// dialGit connects to a server of git's own protocol.
func (r *repo) dialGit(ctx context.Context, to *remote) (gitwire.Stream, error) {
	address := to.address(gitPort)
	var conn net.Conn
	if err := r.connect(ctx, "git", address, func(ctx context.Context) (err error) {
		conn, err = r.dialer()(ctx, "tcp", address)
		return err
	}); err != nil {
		return nil, err
	}
	host := to.host
	if to.port != "" {
		host = to.address(gitPort)
	}
	// One write, because some servers expect the line in one packet.
	line := gitwire.UploadPack + " " + to.path + "\x00host=" + host + "\x00\x00version=2\x00"
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	_, err := fmt.Fprintf(conn, "%04x%s", len(line)+4, line)
	stop()
	if err != nil {
		conn.Close()
		return nil, err
	}
	return gitStream{conn}, nil
}

// gitStream is a connection to a server of git's own protocol. Unlike ssh, it has no
// separate stream for error messages.
type gitStream struct{ net.Conn }

// Said is always empty.
func (gitStream) Said() string { return "" }

// prefixBuffer keeps the first 4 KiB of what is written to it.
type prefixBuffer struct {
	mu   sync.Mutex
	text []byte
}

func (t *prefixBuffer) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[:min(len(p), max(0, 4096-len(t.text)))]...)
	return len(p), nil
}

func (t *prefixBuffer) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
