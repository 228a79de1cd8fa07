// Package hostkeys checks the keys of ssh servers against known_hosts files
// as sshd(8) describes them.
//
// Like OpenSSH, it skips a line that it can't parse: one of version 1 of the
// protocol, one with an unknown key type or marker, or a
// damaged one. All other lines are used. [Load] reports
// the numbers of skipped lines.
//
//   - load.go reads the files;
//   - hostkeys.go checks a server's key or certificate;
//   - add.go writes the key of a new host.
package hostkeys

import (
	"bytes"
	"errors"
	"net"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
)

var (
	// ErrUnknown means that no line names the host.
	ErrUnknown = errors.New("the host's key is not in known_hosts")
	// ErrChanged means that the lines that name the host have other keys.
	ErrChanged = errors.New("the host's key is not the one in known_hosts")
	// ErrRevoked means that a line with @revoked has the host's key.
	ErrRevoked = errors.New("the host's key is revoked by known_hosts")
)

const defaultPort = "22"

// A Host is the name by which known_hosts files know a server.
type Host struct {
	Name string // as dialed, or an alias
	Port string // empty for the default one
}

// String is the name as a line has it: the port is there unless it is the default.
func (h Host) String() string {
	name := strings.ToLower(h.Name)
	if h.Port == "" || h.Port == defaultPort {
		return name
	}
	return "[" + name + "]:" + h.Port
}

// A DB is the content of known_hosts files. Its zero value knows no host.
type DB struct {
	lines   []line
	revoked []ssh.PublicKey
}

// Add makes the key of a host known to db, without writing it.
func (db *DB) Add(h Host, key ssh.PublicKey) {
	db.lines = append(db.lines, line{hosts: []string{h.String()}, key: key})
}

// lookup returns the keys of a host and the authorities that may certify it. Those of
// the name without the port count too, as for OpenSSH: exact tells whether there are
// keys of the name with it.
func (db *DB) lookup(h Host) (keys, authorities []ssh.PublicKey, exact bool) {
	name := h.String()
	plain := Host{Name: h.Name}.String()
	var others []ssh.PublicKey
	for _, l := range db.lines {
		switch {
		case l.authority && (l.matches(name) || l.matches(plain)):
			authorities = append(authorities, l.key)
		case l.authority:
		case l.matches(name):
			keys = append(keys, l.key)
		case l.matches(plain):
			others = append(others, l.key)
		}
	}
	if len(keys) > 0 {
		return keys, authorities, true
	}
	return others, authorities, false
}

// Knows reports whether a line has a key of the host, or of an authority for it.
func (db *DB) Knows(h Host) bool {
	keys, authorities, _ := db.lookup(h)
	return len(keys)+len(authorities) > 0
}

// Algorithms are the algorithms to negotiate with a host, the preferred ones first:
// those of certificates if an authority is known, and those of the known keys. If no
// key is known and unknown ones are welcome, they are all.
func (db *DB) Algorithms(h Host, welcome bool) []string {
	keys, authorities, exact := db.lookup(h)
	var list []string
	add := func(algorithms ...string) {
		for _, a := range algorithms {
			if !slices.Contains(list, a) {
				list = append(list, a)
			}
		}
	}
	supported := ssh.SupportedAlgorithms().HostKeys
	for _, a := range supported {
		if strings.Contains(a, "-cert-") && len(authorities) > 0 {
			add(a)
		}
	}
	for _, key := range keys {
		if key.Type() == ssh.KeyAlgoRSA {
			add(ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			continue
		}
		add(key.Type())
	}
	if welcome && !exact {
		for _, a := range supported {
			if !strings.Contains(a, "-cert-") {
				add(a)
			}
		}
	}
	return list
}

// Check checks the key that a host presents.
func (db *DB) Check(h Host, key ssh.PublicKey) error {
	keys, authorities, exact := db.lookup(h)
	if cert, ok := key.(*ssh.Certificate); ok {
		if contains(authorities, cert.SignatureKey) {
			return db.checkCertificate(h, cert)
		}
		key = cert.Key // without its authority a certificate is a key like any other
	}
	switch {
	case contains(db.revoked, key):
		return ErrRevoked
	case contains(keys, key):
		return nil
	case exact:
		return ErrChanged
	}
	return ErrUnknown
}

func (db *DB) checkCertificate(h Host, cert *ssh.Certificate) error {
	if contains(db.revoked, cert.Key) || contains(db.revoked, cert.SignatureKey) {
		return ErrRevoked
	}
	checker := ssh.CertChecker{
		IsHostAuthority: func(ssh.PublicKey, string) bool { return true },
	}
	return checker.CheckHostKey(net.JoinHostPort(strings.ToLower(h.Name), defaultPort), nil, cert)
}

func contains(list []ssh.PublicKey, key ssh.PublicKey) bool {
	return slices.ContainsFunc(list, func(k ssh.PublicKey) bool { return bytes.Equal(k.Marshal(), key.Marshal()) })
}
