package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// A login is the user name and password of the gateway. A real service would use its directory.
type login struct {
	dir            string // of the netrc file
	user, password string
	off            bool // nobody needs it
}

// newLogin takes the login from GATEWAY_LOGIN, as user:password, or generates one.
func newLogin(dir string) (*login, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	given, ok := os.LookupEnv("GATEWAY_LOGIN")
	if !ok {
		return &login{dir: dir, user: "developer", password: rand.Text()}, nil
	}
	user, password, ok := strings.Cut(given, ":")
	if !ok || user == "" || strings.ContainsAny(given, " \t\r\n") {
		return nil, errors.New("GATEWAY_LOGIN must be user:password, without blanks")
	}
	return &login{dir: dir, user: user, password: password}, nil
}

// required refuses requests without the login.
func (l *login) required(next http.Handler) http.Handler {
	if l.off {
		return next
	}
	want := sha256.Sum256([]byte(l.user + ":" + l.password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		got := sha256.Sum256([]byte(user + ":" + password))
		if subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="gateway"`)
			http.Error(w, "log in: the go command takes the login from the netrc file", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// writeNetrc writes the file that the go command takes the login from.
func (l *login) writeNetrc(host string) (string, error) {
	file := filepath.Join(l.dir, "netrc")
	return file, os.WriteFile(file, fmt.Appendf(nil, "machine %s login %s password %s\n", host, l.user, l.password), 0o600)
}
