package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

// prepare reads what is to be published, and where.
func prepare(registry, dir string, args []string, insecure bool) (*uploader, module.Version, error) {
	var m module.Version
	base, err := url.Parse(strings.TrimSuffix(registry, "/"))
	switch {
	case registry == "":
		return nil, m, errors.New("-registry is missing: the URL of the registry")
	case err != nil || base.Host == "" || base.Scheme != "https" && base.Scheme != "http" || base.RawQuery != "" || base.Fragment != "":
		return nil, m, errors.New("-registry is no URL such as https://go.corp.example")
	case base.User != nil:
		return nil, m, errors.New("-registry has a login in it; give the secret by " + tokenVariable + ", -token-file or -token")
	case base.Scheme == "http" && !insecure && !loopback(base.Hostname()):
		return nil, m, errors.New("-registry is plain http, by which others on the network could read the secret; use https, or -insecure")
	case len(args) != 1:
		return nil, m, errors.New("want one VERSION, behind the flags")
	}
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return nil, m, err
	}
	m = module.Version{Path: modfile.ModulePath(text), Version: args[0]}
	switch {
	case m.Path == "":
		return nil, m, fmt.Errorf("the go.mod in %s has no module line", dir)
	case module.CanonicalVersion(m.Version) != m.Version || m.Version == "":
		return nil, m, fmt.Errorf("%q is no canonical version, such as v1.2.3 or v1.2.3-rc.1", m.Version)
	case module.IsPseudoVersion(m.Version):
		return nil, m, fmt.Errorf("%s is a pseudo-version, which names a commit of a repository; choose another", m.Version)
	}
	return &uploader{base: base, pause: firstPause}, m, module.Check(m.Path, m.Version)
}

// loopback reports whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// token returns the secret.
func token(secret, file string) (string, error) {
	switch {
	case secret != "" && file != "":
		return "", errors.New("want -token or -token-file, not both")
	case file != "":
		text, err := os.ReadFile(file)
		if err != nil {
			return "", fmt.Errorf("-token-file: %w", err)
		}
		secret = string(text)
	case secret == "":
		secret = os.Getenv(tokenVariable)
	}
	if secret = strings.TrimSpace(secret); secret == "" || strings.ContainsAny(secret, "\r\n") {
		return "", errors.New("the secret is missing, or more than one line: set " + tokenVariable + ", or give -token-file FILE")
	}
	return secret, nil
}
