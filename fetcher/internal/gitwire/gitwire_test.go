package gitwire_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
	"github.com/athens-go/athens/internal/modtest"
)

// upload is a git-upload-pack of this machine.
type upload struct {
	io.WriteCloser
	io.Reader
	cmd *exec.Cmd
}

func (u *upload) Close() error {
	_ = u.WriteCloser.Close()
	_, _ = io.Copy(io.Discard, u.Reader)
	return u.cmd.Wait()
}

func (u *upload) Said() string { return "" }

func streams(dir string, version int) gitwire.Streams {
	return gitwire.Streams{Dial: func(context.Context) (gitwire.Stream, error) {
		cmd := exec.Command("git", "upload-pack", dir)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull)
		if version > 0 {
			cmd.Env = append(cmd.Env, fmt.Sprintf("GIT_PROTOCOL=version=%d", version))
		}
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		return &upload{in, out, cmd}, cmd.Start()
	}}
}

const repoScript = `# Two commits and two tags.
repo git.test/wire
write go.mod "module git.test/wire\n"
commit 2022-01-01T10:00:00Z One
tag v1.0.0
write a.go "package wire\n"
commit 2022-01-02T10:00:00Z Two
tag v1.1.0
`

// Every version of the protocol gives the same references and packs, which git takes.
func TestVersions(t *testing.T) {
	repo := modtest.NewRepo(t, repoScript)
	run(t, repo.Dir(), "tag", "-a", "-m", "x", "annotated", "v1.1.0")
	run(t, repo.Dir(), "update-ref", "refs/pull/1/head", "v1.0.0")
	for _, version := range []int{0, 1, 2} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			c := &gitwire.Client{Link: streams(repo.Dir(), version), Limits: gitwire.Limits{Idle: time.Minute, FirstByte: time.Minute}}
			var list []string
			var tip gitwire.ID
			s, err := c.List(t.Context(), []string{"HEAD", "refs/heads/", "refs/tags/"}, func(r gitwire.Ref) error {
				list = append(list, fmt.Sprintf("%s\t%s", r.Target, r.Name))
				if r.Target != r.Peeled {
					list = append(list, fmt.Sprintf("%s\t%s^{}", r.Peeled, r.Name))
				}
				tip = r.Peeled
				return nil
			})
			require.NoError(t, err)
			assert.Equal(t, version, s.Version)
			assert.True(t, s.Deepens)
			assert.Equal(t, run(t, repo.Dir(), "ls-remote", "-q", repo.Dir(), "HEAD", "refs/heads/*", "refs/tags/*"), strings.Join(list, "\n")+"\n")
			first, ok := gitwire.ParseID(strings.TrimSpace(run(t, repo.Dir(), "rev-parse", "v1.0.0^{commit}")))
			require.True(t, ok)
			for name, req := range map[string]*gitwire.Request{
				"whole": {Wants: []gitwire.ID{tip}}, "shallow": {Wants: []gitwire.ID{tip}, Depth: 1},
				"further": {Wants: []gitwire.ID{tip}, Haves: []gitwire.ID{first}},
				"thin":    {Wants: []gitwire.ID{tip}, Haves: []gitwire.ID{first}, Shallows: []gitwire.ID{first}, Depth: 1, Thin: true},
			} {
				pack, err := s.Fetch(t.Context(), req)
				require.NoError(t, err, name)
				data, err := io.ReadAll(pack)
				require.NoError(t, err, name)
				require.NoError(t, pack.Close())
				assert.False(t, pack.Cut)
				cmd := exec.Command("git", "index-pack", "--stdin", "--fix-thin")
				cmd.Dir, cmd.Stdin = repo.Dir(), bytes.NewReader(data)
				out, err := cmd.CombinedOutput()
				assert.NoError(t, err, "%s: %s", name, out)
			}
		})
	}
}

func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// A sent request, as a server sees it.
type sent struct {
	method, path, query, body string
	header                    http.Header
}

// recorder keeps requests and passes them on.
func recorder(mu *sync.Mutex, list *[]sent, old bool) modtest.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if r.Header.Get("Content-Encoding") == "gzip" {
				if z, err := gzip.NewReader(bytes.NewReader(body)); err == nil {
					body, _ = io.ReadAll(z)
				}
			}
			mu.Lock()
			*list = append(*list, sent{r.Method, r.URL.Path, r.URL.RawQuery, string(body), r.Header.Clone()})
			mu.Unlock()
			if old {
				r.Header.Del("Git-Protocol")
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A server that compares requests with git's finds no difference that matters: the
// same headers, and every capability that git announces.
func TestRequestsAreGits(t *testing.T) {
	repo := modtest.NewRepo(t, repoScript)
	for _, old := range []bool{false, true} {
		n := modtest.NewInternet(t, repo)
		var mu sync.Mutex
		var list []sent
		n.Break("git.test/wire", recorder(&mu, &list, old))
		take := func() []sent {
			mu.Lock()
			defer mu.Unlock()
			taken := list
			list = nil
			return taken
		}
		dir := t.TempDir()
		run(t, dir, "init", "-q")
		cmd := exec.Command("git", "fetch", "-q", "--depth=1", n.Direct("git.test/wire"), "refs/tags/v1.0.0:refs/tags/v1.0.0")
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "LANG=C", "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		theirs := take()

		u, err := url.Parse(n.Direct("git.test/wire"))
		require.NoError(t, err)
		c := &gitwire.Client{Link: &gitwire.HTTP{URL: u, Do: http.DefaultClient.Do}}
		var id gitwire.ID
		s, err := c.List(t.Context(), []string{"HEAD", "refs/heads/", "refs/tags/"}, func(r gitwire.Ref) error { id = r.Peeled; return nil })
		require.NoError(t, err)
		pack, err := s.Fetch(t.Context(), &gitwire.Request{Wants: []gitwire.ID{id}, Depth: 1})
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, pack)
		require.NoError(t, err)
		require.NoError(t, pack.Close())
		ours := take()

		require.Equal(t, len(ours) > 2, !old)
		for _, want := range []string{"GET", "ls-refs", "want"} {
			a, b := find(ours, want), find(theirs, want)
			require.Equal(t, a == nil, b == nil, want)
			if a == nil {
				continue
			}
			assert.Equal(t, b.path, a.path)
			assert.Equal(t, b.query, a.query)
			for name := range b.header {
				switch name {
				case "User-Agent":
					assert.True(t, strings.HasPrefix(a.header.Get(name), "git/"))
				case "Accept-Encoding":
					assert.Contains(t, a.header.Get(name), "gzip")
				case "Content-Length", "Content-Encoding":
				default:
					assert.Equal(t, b.header.Values(name), a.header.Values(name), "%s %s", want, name)
				}
			}
			ourWords := words(a.body)
			for w := range words(b.body) {
				assert.Contains(t, ourWords, w, "%s in %q", w, a.body)
			}
		}
	}
}

func find(list []sent, text string) *sent {
	for _, s := range list {
		if s.method == text || strings.Contains(s.body, text) {
			return &s
		}
	}
	return nil
}

// words are what a request says, but for hashes and what its user chooses.
func words(body string) map[string]bool {
	list := make(map[string]bool)
	for len(body) >= 4 {
		var n int
		if _, err := fmt.Sscanf(body[:4], "%04x", &n); err != nil || n > len(body) {
			break
		}
		for _, w := range strings.Fields(body[4:max(4, n)]) {
			switch {
			case strings.HasPrefix(w, "agent="):
				w = "agent=git"
			case strings.HasPrefix(w, "refs/"), len(w) == 40, w == "ref-prefix", w == "include-tag":
				continue // what is wanted; tags that come along
			case w == "no-done":
				continue // ours are done in one request
			}
			list[w] = true
		}
		body = body[max(4, n):]
	}
	return list
}

// An answer that stalls is cut off, before the first byte and between two.
func TestStalled(t *testing.T) {
	for _, begin := range []string{"", "0044"} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			c := &gitwire.Client{
				Link: gitwire.Streams{Dial: func(context.Context) (gitwire.Stream, error) {
					r, w := io.Pipe()
					go func() { _, _ = w.Write([]byte(begin)) }()
					return &stuck{r}, nil
				}},
				Limits: gitwire.Limits{FirstByte: 10 * time.Second, Idle: time.Minute},
			}
			_, err := c.List(t.Context(), nil, nil)
			assert.ErrorIs(t, err, gitwire.ErrSilent)
			want := 10 * time.Second
			if begin != "" {
				want = time.Minute
			}
			assert.Equal(t, want, time.Since(start))
		})
	}
}

type stuck struct{ *io.PipeReader }

func (*stuck) Write(p []byte) (int, error) { return len(p), nil }
func (*stuck) Said() string                { return "" }

// A million pull requests are read and dropped: what stays in memory are the tags.
func TestManyReferences(t *testing.T) {
	const many = 1_000_000
	var kept, sentRefs int
	c := &gitwire.Client{Link: gitwire.Streams{Dial: func(context.Context) (gitwire.Stream, error) {
		r, w := io.Pipe()
		go func() {
			const hash = "0123456789abcdef0123456789abcdef01234567"
			first := hash + " HEAD\x00shallow agent=git/2\n"
			buf := fmt.Appendf(nil, "%04x%s", len(first)+4, first)
			for i := range many {
				line := fmt.Sprintf("%s refs/pull/%d/head\n", hash, i)
				buf = fmt.Appendf(buf, "%04x%s", len(line)+4, line)
				sentRefs++
				if len(buf) > 32<<10 {
					if _, err := w.Write(buf); err != nil {
						return
					}
					buf = buf[:0]
				}
			}
			_, _ = w.Write(append(buf, "0046"+hash+" refs/tags/v1.0.0-pre.000\n0000"...))
			_ = w.Close()
		}()
		return &stuck{r}, nil
	}}}
	s, err := c.List(t.Context(), []string{"HEAD", "refs/tags/"}, func(gitwire.Ref) error { kept++; return nil })
	require.NoError(t, err)
	assert.Equal(t, 0, s.Version)
	assert.Equal(t, many, sentRefs)
	assert.Equal(t, 2, kept)
}

// FuzzClient lists and fetches from a server that answers anything at all.
func FuzzClient(f *testing.F) {
	const hash = "0123456789abcdef0123456789abcdef01234567"
	f.Add([]byte("000eversion 2\n000cls-refs\n0012fetch=shallow\n0000003d"+hash+" refs/heads/main\n0000"), []byte("000eversion 2\n000cls-refs\n0012fetch=shallow\n0000000dpackfile\n0009\x01PACK0000"))
	f.Add([]byte("0043"+hash+" HEAD\x00agent=git/2.45.2\n0000"), []byte("0043"+hash+" HEAD\x00side-band-64k\n00000008NAK\n0009\x01PACK0000"))
	f.Add([]byte("000eversion 1\n0000"), []byte("0008ERR "))
	f.Fuzz(func(t *testing.T, list, pack []byte) {
		answer := list
		c := &gitwire.Client{
			Link: gitwire.Streams{Dial: func(context.Context) (gitwire.Stream, error) {
				return recorded{bytes.NewReader(answer)}, nil
			}},
			Limits: gitwire.Limits{ListBytes: 1 << 20, PackBytes: 1 << 20},
		}
		s, err := c.List(t.Context(), []string{""}, func(r gitwire.Ref) error {
			if len(r.Name) == 0 {
				return errors.New("a reference without a name")
			}
			return nil
		})
		if err != nil {
			return
		}
		answer = pack
		p, err := s.Fetch(t.Context(), &gitwire.Request{Wants: []gitwire.ID{{}}, Depth: 1})
		if err != nil {
			return
		}
		n, _ := io.Copy(io.Discard, p)
		if n > int64(len(pack)) {
			t.Errorf("%d bytes of pack in %d", n, len(pack))
		}
		_ = p.Close()
	})
}

// A server of files and a page are told from a list of references.
func TestNoGitServer(t *testing.T) {
	for body, want := range map[string]error{
		"0123456789abcdef0123456789abcdef01234567\trefs/heads/main\n": gitwire.ErrDumb,
		modtest.SignIn: gitwire.ErrNotGit,
	} {
		n := modtest.NewInternet(t)
		n.Handle("git.test", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, body) }))
		u, err := url.Parse(n.Direct(filepath.ToSlash("git.test/wire")))
		require.NoError(t, err)
		_, err = (&gitwire.Client{Link: &gitwire.HTTP{URL: u, Do: http.DefaultClient.Do}}).List(t.Context(), nil, nil)
		assert.ErrorIs(t, err, want)
	}
}
