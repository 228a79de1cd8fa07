package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/athens-go/athens/examples/internal/server"
	"github.com/athens-go/athens/serve"
)

// useTLS has the gateway serve TLS, unless it is to serve plain HTTP, with the certificate
// of its flags or with one of its own in dir. It returns the scheme of its URL and what has
// a client trust a certificate of its own.
func useTLS(parts *server.Parts, plain bool, dir string) (scheme, trust string, err error) {
	switch {
	case parts.CertFile != "":
		return "https", "", nil
	case plain:
		return "http", "", nil
	}
	parts.CertFile, parts.KeyFile, err = certificate(dir, parts.Flags.Addr)
	return "https", " SSL_CERT_FILE=" + serve.Quote(parts.CertFile), err
}

// certificate returns the files of a self-signed certificate for addr's host,
// made anew unless dir has one that is valid. A real service has its own.
func certificate(dir, addr string) (certFile, keyFile string, err error) {
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "", "", err
	}
	if pair, err := tls.LoadX509KeyPair(certFile, keyFile); err == nil && time.Until(pair.Leaf.NotAfter) > 24*time.Hour &&
		(host == "" || pair.Leaf.VerifyHostname(host) == nil) {
		return certFile, keyFile, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "gateway"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		IsCA:         true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = append(template.IPAddresses, ip)
	} else if host != "" {
		template.DNSNames = append(template.DNSNames, host)
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return "", "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return "", "", err
	}
	if err := writePEM(keyFile, "PRIVATE KEY", der, 0o600); err != nil {
		return "", "", err
	}
	return certFile, keyFile, writePEM(certFile, "CERTIFICATE", cert, 0o644)
}

func writePEM(file, kind string, der []byte, mode os.FileMode) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode)
}
