package fetcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/athens-go/athens/internal/homefile"
)

// A keyring has the keys for a login: those of an agent and those
// in files, in the order in which ssh tries them.
type keyring struct {
	agent    net.Conn // nil without an agent
	list     []ssh.Signer
	problems []string // why other keys can't be used
	warn     homefile.Warn
}

// keyNames are the files that are tried if the configuration names none.
var keyNames = []string{"id_ed25519", "id_ecdsa", "id_rsa"}

// maxKeyBytes bounds a key file.
const maxKeyBytes = 1 << 20

// openKeys collects the keys. An agent or a file that can't be used is not an
// error, because another key may suffice.
func (f *Fetcher) openKeys(ctx context.Context, conf *sshHost) (*keyring, error) {
	k := &keyring{warn: f.warn(ctx, "an ssh key can't be read; continuing without it")}
	files := conf.IdentityFiles
	if files == nil {
		for _, name := range keyNames {
			files = append(files, filepath.Join(conf.dir, name))
		}
	}
	held := k.askAgent(ctx, conf)
	var named [][]byte // public keys of the files
	var own []ssh.Signer
	for _, name := range files {
		public := publicKey(name)
		signer, err := k.load(name)
		switch {
		case signer != nil:
			own = append(own, signer)
			public = signer.PublicKey().Marshal()
		case err != nil && !containsKey(held, public):
			k.problems = append(k.problems, err.Error())
		}
		if public != nil {
			named = append(named, public)
		}
	}
	preferred := func(s ssh.Signer) bool {
		return slices.ContainsFunc(named, func(p []byte) bool { return bytes.Equal(p, s.PublicKey().Marshal()) })
	}
	for _, want := range []bool{true, false} {
		for _, s := range held {
			if preferred(s) == want && (want || !conf.IdentitiesOnly) {
				k.list = append(k.list, s)
			}
		}
	}
	for _, s := range own {
		if !containsKey(held, s.PublicKey().Marshal()) {
			k.list = append(k.list, s)
		}
	}
	k.addCertificates(append(certificates(files), conf.Certificates...))
	if err := context.Cause(ctx); err != nil {
		k.close()
		return nil, err
	}
	return k, nil
}

func containsKey(list []ssh.Signer, public []byte) bool {
	return public != nil && slices.ContainsFunc(list, func(s ssh.Signer) bool { return bytes.Equal(public, s.PublicKey().Marshal()) })
}

// askAgent returns the keys of the ssh agent, if there is one.
func (k *keyring) askAgent(ctx context.Context, conf *sshHost) []ssh.Signer {
	socket := conf.IdentityAgent
	if name, ok := strings.CutPrefix(socket, "$"); ok {
		socket = os.Getenv(strings.Trim(name, "{}"))
	}
	if socket == "" || socket == "SSH_AUTH_SOCK" {
		socket = os.Getenv("SSH_AUTH_SOCK")
	}
	if socket == "" || socket == none {
		return nil
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		k.problems = append(k.problems, fmt.Sprintf("the ssh agent can't be reached: %v", errors.Unwrap(err)))
		return nil
	}
	// Don't wait forever for an agent that does not answer.
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	list, err := agent.NewClient(conn).Signers()
	if err != nil {
		conn.Close()
		k.problems = append(k.problems, "the ssh agent does not list its keys")
		return nil
	}
	if len(list) == 0 {
		k.problems = append(k.problems, "the ssh agent has no key")
	}
	k.agent = conn
	return list
}

// certificates returns the names of the certificate files for key files. They may not
// exist.
func certificates(files []string) []string {
	var list []string
	for _, name := range files {
		list = append(list, name+"-cert.pub")
	}
	return list
}

// addCertificates inserts the certificates for the keys of k before the keys.
func (k *keyring) addCertificates(files []string) {
	var list []ssh.Signer
	for _, name := range files {
		key, _, _, _, err := ssh.ParseAuthorizedKey(homefile.Optional(name, maxKeyBytes, k.warn))
		cert, ok := key.(*ssh.Certificate)
		if err != nil || !ok || cert.CertType != ssh.UserCert {
			continue
		}
		for _, s := range k.list {
			if signer, err := ssh.NewCertSigner(cert, s); err == nil && !containsKey(k.list, cert.Marshal()) && !containsKey(list, cert.Marshal()) {
				list = append(list, signer)
			}
		}
	}
	k.list = append(list, k.list...)
}

// load reads a private key. It returns nil without an error if there is no such file.
func (k *keyring) load(name string) (ssh.Signer, error) {
	data, err := homefile.Read(name, maxKeyBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	base := filepath.Base(name)
	if err != nil {
		k.warn.Report(name, err)
		return nil, fmt.Errorf("the key %s can't be read", base)
	}
	signer, err := ssh.ParsePrivateKey(data)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, fmt.Errorf("the key %s is encrypted; add it to an ssh agent", base)
	}
	if err != nil {
		return nil, fmt.Errorf("the key %s is malformed or of an unsupported type", base)
	}
	return signer, nil
}

// publicKey returns the public key stored beside a private one, or nil.
func publicKey(name string) []byte {
	data, err := homefile.Read(name+".pub", maxKeyBytes)
	if err != nil {
		return nil
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey(data)
	if err != nil {
		return nil
	}
	return key.Marshal()
}

func (k *keyring) signers() ([]ssh.Signer, error) { return k.list, nil }

// describe says which keys were offered, for an error.
func (k *keyring) describe() string {
	var s strings.Builder
	switch len(k.list) {
	case 0:
		s.WriteString("no key is available")
	case 1:
		s.WriteString("the only available key was rejected")
	default:
		fmt.Fprintf(&s, "all %d available keys were rejected", len(k.list))
	}
	for _, why := range k.problems {
		s.WriteString("; " + why)
	}
	return s.String()
}

func (k *keyring) close() {
	if k.agent != nil {
		k.agent.Close()
	}
}
