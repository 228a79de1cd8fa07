package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
)

// environment is what "go env" says.
type environment struct{ GOPROXY, GOROOT string }

// goEnv asks the go command for its settings, whatever project the server was started
// in. That it is not installed is an error.
func goEnv() (environment, error) {
	var env environment
	cmd := exec.Command("go", "env", "-json", "GOPROXY", "GOROOT")
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN=local", "GOFLAGS=", "GOWORK=off")
	cmd.Dir = os.TempDir()
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return env, fmt.Errorf("go env: %w: %s", err, strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return env, fmt.Errorf("go env: %w", err)
	}
	return env, json.Unmarshal(out, &env)
}

// Off is the value of -upstream that means there is none.
const Off = "off"

// UpstreamFlag defines -upstream, for servers that can have one.
func (f *Flags) UpstreamFlag() *string {
	return f.String("upstream", "", "the `URL` of the registry for public modules; off means that all come from version control,\nnot given means the first URL in GOPROXY of 'go env'")
}

// Upstream returns the URL of -upstream, whose value is given, or [Off]. If the
// flag was not given, it is the first URL in GOPROXY that is not this server.
func (f *Flags) Upstream(value string) (string, error) {
	if f.Given("upstream") {
		if value == "" {
			return "", errors.New("-upstream is empty; 'off' means none")
		}
		return value, nil
	}
	env, err := goEnv()
	if err != nil {
		return "", fmt.Errorf("no default for -upstream, set it to a URL or 'off': %w", err)
	}
	upstream := firstURL(env.GOPROXY, f.Addr)
	f.upstreamFrom = "go env GOPROXY"
	return upstream, nil
}

// firstURL returns the first URL of a GOPROXY list that is not the server at
// addr, or Off. What stands behind direct or off is never asked.
func firstURL(list, addr string) string {
	for _, item := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == '|' }) {
		item = strings.TrimSpace(item)
		if item == "direct" || item == Off {
			break
		}
		if u, err := url.Parse(item); err == nil && (u.Scheme == "http" || u.Scheme == "https") && !sameServer(u, addr) {
			return item
		}
	}
	return Off
}

// sameServer reports whether u leads to addr on this machine.
func sameServer(u *url.URL, addr string) bool {
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port == "0" || u.Port() != port {
		return false
	}
	return u.Hostname() == host || local(u.Hostname()) && (local(host) || host == "")
}

// local reports whether host is this machine by its name or address alone.
func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
}
