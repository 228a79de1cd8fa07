package redirect_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/redirect"
)

// far makes connections look as if they led to the internet at large.
type far struct{ net.Conn }

func (far) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(8, 8, 8, 8), Port: 80} }

// A server on the internet can't make this one ask servers inside, and pass on what
// they say.
func TestRedirectsStayOutside(t *testing.T) {
	var asked atomic.Int32
	inside := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		io.WriteString(w, "the keys to the kingdom")
	}))
	srv := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/again") {
			io.WriteString(w, "v1.0.0\n")
			return
		}
		http.Redirect(w, r, map[bool]string{true: "http://up.test/again", false: inside.URL + "/latest/meta-data"}[strings.Contains(r.URL.Path, "/good/")], http.StatusFound)
	}))
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != "up.test:80" {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
		conn, err := new(net.Dialer).DialContext(ctx, network, srv.Listener.Addr().String())
		return far{conn}, err
	}}
	defer transport.CloseIdleConnections()
	u := upstream(t, "http://up.test", &redirect.Options{Transport: transport, Tries: 1})
	_, err := u.SumDB(t.Context(), "sumdb/sum.test/latest")
	assert.ErrorContains(t, err, "invalid: the server redirects to an address that is not public")
	assert.IsType(t, new(athens.InvalidError), err)
	_, err = u.Versions(t.Context(), "example.com/m")
	assert.ErrorContains(t, err, "an address that is not public")
	assert.Zero(t, asked.Load())
	list, err := u.Versions(t.Context(), "example.com/good/m")
	assert.NoError(t, err)
	assert.Equal(t, []string{"v1.0.0"}, list)

	// One that is inside itself may have its files elsewhere there.
	u = upstream(t, srv.URL, &redirect.Options{Tries: 1})
	body, err := u.SumDB(t.Context(), "sumdb/sum.test/latest")
	assert.NoError(t, err)
	assert.Equal(t, "the keys to the kingdom", string(body))
}
