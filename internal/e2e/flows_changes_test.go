package e2e_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/auth"
	"github.com/athens-go/athens/serve/events"
)

// hookSecret is that of the push events of a flow.
const hookSecret = "a secret of push events"

// credentials makes the token file of a server, where TOKENS is among its arguments, and the
// file of its push events' secret, where HOOKS is.
func (f *flow) credentials(args []string) {
	for i, arg := range args {
		file := filepath.Join(f.t.TempDir(), strings.ToLower(arg))
		switch arg {
		case "TOKENS":
			lines := "anonymous read *\n"
			for name, rights := range map[string]auth.Rights{"ci": auth.Read | auth.Publish | auth.Refresh, "operator": auth.Read | auth.Admin} {
				secret, line, err := auth.NewToken(name, "*", rights)
				require.NoError(f.t, err)
				f.secrets[name], lines = secret, lines+line+"\n"
			}
			require.NoError(f.t, os.WriteFile(file, []byte(lines), 0o600))
		case "HOOKS":
			require.NoError(f.t, os.WriteFile(file, []byte(hookSecret+"\n"), 0o600))
		default:
			continue
		}
		args[i] = file
	}
}

// publish lets somebody upload a version of a module that is in no repository.
func (f *flow) publish(word []string) []string {
	f.t.Helper()
	f.current.Store(word[1])
	dir := f.t.TempDir()
	require.NoError(f.t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module "+word[2]+"\n\ngo 1.21\n"), 0o600))
	require.NoError(f.t, os.MkdirAll(filepath.Join(dir, "text"), 0o700))
	require.NoError(f.t, os.WriteFile(filepath.Join(dir, "text", "text.go"), []byte("package text\n\nconst Of = \""+word[3]+"\"\n"), 0o600))
	cmd := exec.CommandContext(f.t.Context(), modtest.Build(f.t, "./examples/publish"), "-registry", f.recorders[word[4]].URL, "-dir", dir, word[3])
	cmd.Env = append(os.Environ(), "ATHENS_TOKEN="+f.secrets[word[1]])
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(f.t, err, stderr.String())
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// order sends an order to a server, and returns its answer.
func (f *flow) order(to, path string, order map[string]string, header http.Header) string {
	f.t.Helper()
	body, err := json.Marshal(order)
	require.NoError(f.t, err)
	return f.post(to, path, body, header)
}

func (f *flow) post(to, path string, body []byte, header http.Header) string {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), http.MethodPost, f.recorders[to].URL+path, bytes.NewReader(body))
	require.NoError(f.t, err)
	req.Header = header
	header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(f.t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(f.t, err)
	require.Equal(f.t, http.StatusOK, resp.StatusCode, string(answer))
	return strings.TrimSpace(string(answer))
}

// login is the header of somebody's token.
func (f *flow) login(name string) http.Header {
	return http.Header{"Authorization": {"Bearer " + f.secrets[name]}}
}

// takeBack lets an operator remove, hide or restore a version.
func (f *flow) takeBack(word []string) []string {
	f.t.Helper()
	f.current.Store("operator")
	order := map[string]string{"module": word[2], "version": word[3]}
	if word[5] != "" {
		order["reason"] = word[5]
	}
	f.order(word[4], "/"+strings.TrimSuffix(word[1], "s"), order, f.login("operator"))
	return nil
}

// hears waits until a server that follows the registry has applied the last event about a
// version, and returns what the registry says of it.
func (f *flow) hears(word []string) []string {
	f.t.Helper()
	var last events.Event
	modtest.Eventually(f.t, "the registry tells of it", func() bool {
		_, body := modtest.Get(f.t, f.servers["registry"].URL+"/events")
		var page struct{ Events []events.Event }
		require.NoError(f.t, json.Unmarshal([]byte(body), &page))
		for _, e := range page.Events {
			if e.Module == word[2] && e.Version == word[3] && e.Kind == word[4] {
				last = e
			}
		}
		return last.Kind != ""
	})
	modtest.Eventually(f.t, "it is applied", func() bool {
		var state struct{ Cursor int64 }
		data, _ := os.ReadFile(filepath.Join(f.servers[word[1]].dir, ".upstream-events")) // it is not there yet
		return json.Unmarshal(data, &state) == nil && state.Cursor >= last.Seq
	})
	return []string{strings.TrimSpace("event: " + last.Kind + " " + last.Module + " " + last.Version + " " + last.Reason)}
}

// refresh lets a CI job tell a server of a tag.
func (f *flow) refresh(word []string) []string {
	f.t.Helper()
	f.current.Store("ci")
	answer := f.order(word[1], "/refresh", map[string]string{"module": word[2], "version": word[3]}, f.login("ci"))
	f.drain()
	return []string{word[1] + " answers " + answer}
}

// pushEvent lets the service that has the repository tell a server of a tag.
func (f *flow) pushEvent(word []string) []string {
	f.t.Helper()
	f.current.Store("webhook")
	body := fmt.Appendf(nil, `{"ref":"refs/tags/%s","after":"aa218f56b14c9653891f9e74264a383fa43fefbd","repository":{"clone_url":"https://%s.git"}}`, word[3], word[2])
	mac := hmac.New(sha256.New, []byte(hookSecret))
	mac.Write(body)
	answer := f.post(word[1], "/refresh", body, http.Header{"X-Github-Event": {"push"}, "X-Hub-Signature-256": {"sha256=" + hex.EncodeToString(mac.Sum(nil))}})
	f.drain()
	return []string{word[1] + " answers " + answer}
}

// tag makes a repository have a new version.
func (f *flow) tag(word []string) []string {
	f.t.Helper()
	f.repos[word[1]].Run("write new.txt \"" + word[2] + "\"\ncommit 2022-01-01T00:00:00Z Go on\ntag " + word[2] + "\n")
	return nil
}

// leads makes the name of a host lead to a server.
func (f *flow) leads(word []string) []string {
	f.t.Helper()
	to, err := url.Parse(f.recorders[word[2]].URL)
	require.NoError(f.t, err)
	f.hosts = append(f.hosts, word[1])
	f.net.Handle(word[1], &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host },
	})
	return nil
}

// led reports whether a call by the name of a host led to a server, which tells of it.
func (f *flow) led(c call) bool {
	host, _, _ := strings.Cut(c.Path, "/")
	for _, h := range f.hosts {
		if h == host {
			return true
		}
	}
	return false
}

// direct lets a go command that uses no proxy get a package.
func (f *flow) direct(word []string) []string {
	f.t.Helper()
	c := f.client(word[1], "")
	c.Write("go.mod", "module program\n\ngo 1.21\n")
	c.Write("main.go", fmt.Sprintf("package main\n\nimport %q\n\nfunc main() { println(text.Of) }\n", word[2]))
	stdout, stderr, err := c.Run("get", word[2])
	require.NoError(f.t, err, stdout+stderr)
	stdout, stderr, err = c.Run("run", ".")
	require.NoError(f.t, err, stdout+stderr)
	return []string{"the program says: " + strings.TrimSpace(stderr)}
}

// missing asks a server for a module that it could only locate by asking itself.
func (f *flow) missing(word []string) []string {
	f.t.Helper()
	f.current.Store("alice")
	status, body := modtest.Get(f.t, f.recorders[word[1]].URL+"/"+word[2]+"/@v/list")
	require.Equal(f.t, http.StatusNotFound, status, body)
	f.journal.untold(func(call) bool { return false }) // how it asks itself is its own business
	return nil
}
