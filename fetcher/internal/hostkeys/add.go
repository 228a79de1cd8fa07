package hostkeys

import (
	"bytes"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"
)

// Append writes the key of a host to the end of a file, which it makes if it is not
// there, and with it the folder. The line goes out in one write, so that several
// processes can share the file. With hashed the name can't be read from it.
func Append(name string, h Host, key ssh.PublicKey, hashed bool) (err error) {
	host := h.String()
	if hashed {
		salt := make([]byte, sha1.Size)
		rand.Read(salt) // never fails
		encode := base64.StdEncoding.EncodeToString
		host = "|1|" + encode(salt) + "|" + encode(hashName(host, salt))
	}
	line := fmt.Appendf(nil, "%s %s", host, ssh.MarshalAuthorizedKey(key))
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > MaxBytes/2 {
		return fmt.Errorf("%s is longer than %d bytes", name, MaxBytes/2)
	}
	// A last line without an end must not swallow the new one.
	if info.Mode().IsRegular() && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, info.Size()-1); err == nil && !bytes.Equal(last, []byte("\n")) {
			line = append([]byte("\n"), line...)
		}
	}
	_, err = f.Write(line)
	return err
}
