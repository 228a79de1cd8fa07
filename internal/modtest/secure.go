package modtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Secure gives hosts https too, with certificates that the processes and
// transports of this internet trust; pages then name their repositories by
// https. The go command sends its netrc credentials over https only.
func (n *Internet) Secure(hosts ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, host := range hosts {
		n.secure[host] = true
	}
}

// connect begins https for a host that has it.
func (n *Internet) connect(w http.ResponseWriter, r *http.Request) {
	host, port, err := net.SplitHostPort(r.Host)
	n.mu.Lock()
	secure := n.secure[host]
	n.mu.Unlock()
	if err != nil || port != "443" || !secure {
		http.Error(w, "modtest: there is no https at "+r.Host, http.StatusForbidden)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "modtest: "+err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(conn, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	n.ca.take(tls.Server(unread{conn, buffered}, n.ca.config(host)))
}

// unread is a connection of which a part has been read into a buffer already.
type unread struct {
	net.Conn
	from io.Reader
}

func (c unread) Read(b []byte) (int, error) { return c.from.Read(b) }

// authority is the certificate authority of one internet. As a [net.Listener] it hands the
// connections that need its certificates to a server.
type authority struct {
	file string // its certificate, PEM

	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

// newAuthority starts an authority whose connections h answers.
func newAuthority(t testing.TB, h http.Handler) *authority {
	t.Helper()
	a := &authority{
		file: filepath.Join(t.TempDir(), "ca.pem"), conns: make(chan net.Conn), closed: make(chan struct{}),
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err == nil {
		a.key = key
		a.cert, err = a.sign(&x509.Certificate{
			SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "modtest"},
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		})
	}
	if err == nil {
		block := &pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}
		err = os.WriteFile(a.file, pem.EncodeToMemory(block), 0o666)
	}
	if err != nil {
		t.Fatal(err)
	}
	serve(t, a, h)
	return a
}

// sign signs a certificate, of the authority itself while it has none.
func (a *authority) sign(c *x509.Certificate) (*x509.Certificate, error) {
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	parent := a.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &a.key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// config returns the TLS configuration of a host. All hosts have the same key.
func (a *authority) config(host string) *tls.Config {
	return &tls.Config{
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			cert, err := a.sign(&x509.Certificate{
				SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
				KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
			})
			if err != nil {
				return nil, err
			}
			return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: a.key}, nil
		},
	}
}

// pool returns the certificates that a client of the internet trusts.
func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// take passes a connection to the server.
func (a *authority) take(conn net.Conn) {
	select {
	case a.conns <- conn:
	case <-a.closed:
		_ = conn.Close()
	}
}

// Accept returns the next connection.
func (a *authority) Accept() (net.Conn, error) {
	select {
	case conn := <-a.conns:
		return conn, nil
	case <-a.closed:
		return nil, net.ErrClosed
	}
}

// Close makes Accept fail.
func (a *authority) Close() error {
	a.once.Do(func() { close(a.closed) })
	return nil
}

// Addr is not one that could be dialed.
func (a *authority) Addr() net.Addr { return &net.TCPAddr{} }
