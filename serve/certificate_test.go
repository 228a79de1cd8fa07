package serve

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// writePair writes a certificate with a serial number, and its key.
func writePair(t *testing.T, certFile, keyFile string, serial int64) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: secret}} {
		require.NoError(t, os.WriteFile(name, pem.EncodeToMemory(block), 0o600))
		at := time.Unix(serial, 0) // another for each, however coarse the clock of the disk
		require.NoError(t, os.Chtimes(name, at, at))
	}
}

// A certificate that was renewed is used without a restart; half a pair is not.
func TestCertificateReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
		log := slog.New(slog.DiscardHandler)
		_, err := newCertificate(certFile, keyFile, log)
		require.ErrorIs(t, err, os.ErrNotExist)
		writePair(t, certFile, keyFile, 1)
		c, err := newCertificate(certFile, keyFile, log)
		require.NoError(t, err)
		serial := func() int64 {
			time.Sleep(2 * certInterval)
			pair, err := c.get(nil)
			require.NoError(t, err)
			return pair.Leaf.SerialNumber.Int64()
		}
		assert.EqualValues(t, 1, serial())
		writePair(t, certFile, filepath.Join(dir, "other.pem"), 2)
		assert.EqualValues(t, 1, serial(), "the key has not changed yet")
		writePair(t, certFile, keyFile, 3)
		assert.EqualValues(t, 3, serial())
	})
}
