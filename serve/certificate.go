package serve

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate is a pair of files that is read again when it changes.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu      sync.Mutex
	pair    *tls.Certificate
	stamps  [2]time.Time // when the files had changed that were read last, good or bad
	checked time.Time
}

// certInterval is how often the files are looked at, at most.
const certInterval = time.Second

// newCertificate reads the files.
func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log, checked: time.Now()}
	c.stamps = c.changed()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	c.pair = &pair
	return c, err
}

// changed returns when the files have changed.
func (c *certificate) changed() (stamps [2]time.Time) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if at, err := os.Stat(name); err == nil {
			stamps[i] = at.ModTime()
		}
	}
	return stamps
}

// get returns the certificate for a new connection. Files that have changed and are no
// pair, as while they are written, leave the one from before in use, until they change
// again.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.checked) < certInterval {
		return c.pair, nil
	}
	c.checked = time.Now()
	stamps := c.changed()
	if stamps == c.stamps {
		return c.pair, nil
	}
	c.stamps = stamps
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.log.Error("could not read the changed certificate; the previous one stays in use", "error", err)
		return c.pair, nil
	}
	c.pair = &pair
	c.log.Info("certificate reloaded", "expires", pair.Leaf.NotAfter)
	return c.pair, nil
}
