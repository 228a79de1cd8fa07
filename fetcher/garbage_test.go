package fetcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/internal/gitwire"
	"github.com/athens-go/athens/internal/flight"
)

const (
	someHash   = "0123456789abcdef0123456789abcdef01234567"
	someCaps   = "\x00multi_ack thin-pack side-band side-band-64k ofs-delta shallow no-progress agent=git/2"
	goodPrefix = "# service=git-upload-pack\n"
)

// pkt writes pkt-lines; an empty one is a flush.
func pkt(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		if l == "" {
			b.WriteString("0000")
			continue
		}
		fmt.Fprintf(&b, "%04x%s", len(l)+4, l)
	}
	return b.String()
}

// goodList is a list of references with one tag.
func goodList() string {
	return pkt(someHash+" HEAD"+someCaps+"\n", someHash+" refs/heads/main\n", someHash+" refs/tags/v1.0.0\n",
		someHash+" refs/tags/v1.0.1\n", someHash+" refs/tags/v1.0.1^{}\n", "")
}

// garbage are lists and packs as no git sends them.
func garbage(add func(list, pack []byte)) {
	good := goodList()
	lists := []string{
		good, "", "0000", "0004", "0001", "fffe", "zzzz", "ffff" + strings.Repeat("a", 70000), good[:30], good[:len(good)-4],
		pkt(someHash + " HEAD"), pkt(someHash+" HEAD\x00symref=HEAD:refs/heads/main\n", ""), pkt(someHash[:20]+" HEAD\x00\n", ""),
		pkt(strings.Repeat("0", 40)+" capabilities^{}"+someCaps+"\n", ""), pkt(strings.Repeat("0", 40)+" x\n", ""),
		pkt(someHash+" HEAD"+someCaps+" object-format=sha256\n", ""), pkt(someHash+someHash[:24]+" HEAD"+someCaps+"\n", ""),
		pkt(someHash+" refs/tags/v1.0.0\x00\n", "x y z\n", ""), pkt(someHash+" refs/tags/v1.0.0\x00\n", someHash+"refs\n", ""),
		pkt(someHash+" refs/tags/\x1b[31mv1.0.0\x00\n", someHash+" refs/heads/a\x07\n", ""),
		pkt(someHash+" HEAD\x00\n", "shallow "+someHash+"\n", ""), pkt(someHash+" HEAD\x00\n", "shallow x\n", ""),
		pkt(someHash+" HEAD\x00\n", "^{}\n", ""), pkt("ERR no\x1bway\n"), pkt("version 2\n", "ls-refs\n", ""), "<html>404</html>",
	}
	packs := []string{
		"", pkt("NAK\n"), pkt("NAK\n", "\x01PACK\x00\x00\x00\x02\x00\x00\x00\x00"), pkt("NAK\n", "\x02progress", "\x03fatal error", ""),
		pkt("NAK\n", "\x01PACK\x00\x00\x00\x02\xff\xff\xff\xff"+strings.Repeat("\x91", 100), ""), pkt("ACK " + someHash + "\n"), pkt("ACK x\n"),
		pkt("shallow "+someHash+"\n", "", "NAK\n", "\x01PACK", "\x01\x00\x00\x00\x02\x00\x00\x00\x01\x9b\x0cx\x9c", ""),
		pkt("unshallow "+someHash+"\n", ""), pkt("shallow \n", ""), pkt("ERR upload-pack: not our ref\n"), "0000", "zzzz",
		pkt("NAK\n", "\x01PACK\x00\x00\x00\x02\x00\x00\x00\x01\x60\x01x\x9c\x03\x00\x00\x00\x00\x01", ""),
		pkt("NAK\n", "\x01PACK\x00\x00\x00\x02\x00\x00\x00\x01\x7f"+someHash[:20]+"x\x9c\x03\x00\x00\x00\x00\x01", ""),
	}
	for _, l := range lists {
		add([]byte(l), []byte(packs[2]))
	}
	for _, p := range packs {
		add([]byte(good), []byte(p))
	}
}

// server answers each request for a list, and for a pack, with the same bytes.
type server struct{ list, pack []byte }

func (s server) RoundTrip(r *http.Request) (*http.Response, error) {
	body, header := s.pack, http.Header{}
	if r.Method == http.MethodGet {
		header.Set("Content-Type", "application/x-git-upload-pack-advertisement")
		body = append([]byte(pkt(goodPrefix, "")), s.list...)
	} else if _, err := io.Copy(io.Discard, r.Body); err != nil {
		return nil, err
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), Header: header, Request: r}, nil
}

// sound fails the test on a panic, and on an error that is none of the
// contract's or shows what the server sent raw.
func sound(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	var panicked *flight.PanicError
	if errors.As(err, &panicked) {
		t.Fatalf("%v\n%s", err, panicked.Stack)
	}
	var (
		missing *athens.MissingError
		invalid *athens.InvalidError
		outage  *athens.UnavailableError
	)
	if !errors.As(err, &missing) && !errors.As(err, &invalid) && !errors.As(err, &outage) {
		t.Errorf("%T %v", err, err)
	}
}

// FuzzHTTP puts questions to a server that answers anything at all.
func FuzzHTTP(f *testing.F) {
	garbage(func(list, pack []byte) { f.Add(list, pack) })
	f.Fuzz(func(t *testing.T, list, pack []byte) {
		git, err := New(t.TempDir(), &Options{Transport: server{list, pack}, Netrc: none, GitConfig: none, SSHDir: none})
		if err != nil {
			t.Fatal(err)
		}
		defer git.Close()
		const path = "github.com/corp/m"
		_, err = git.Versions(t.Context(), path)
		sound(t, err)
		for _, version := range []string{"v1.0.0", "v1.0.1", "v0.0.0-20200101000000-0123456789ab"} {
			c, err := git.Fetch(t.Context(), module.Version{Path: path, Version: version})
			sound(t, err)
			if err == nil {
				sound(t, c.Zip(t.Context(), io.Discard))
			}
		}
	})
}

// memoryStream is a server's side of a stream, already written.
type memoryStream struct{ io.Reader }

func (memoryStream) Write(p []byte) (int, error) { return len(p), nil }
func (memoryStream) Close() error                { return nil }
func (memoryStream) Said() string                { return "bye\x1b[31m\nnow" }

// FuzzStream does the same to what comes by ssh.
func FuzzStream(f *testing.F) {
	garbage(func(list, pack []byte) { f.Add(list, pack) })
	f.Fuzz(func(t *testing.T, list, pack []byte) {
		git, err := New(t.TempDir(), &Options{Netrc: none, GitConfig: none, SSHDir: none})
		if err != nil {
			t.Fatal(err)
		}
		defer git.Close()
		r := git.acquireRepo("ssh://git.test/m", networkPolicy{})
		defer r.release()
		client := &gitwire.Client{Link: gitwire.Streams{Dial: func(context.Context) (gitwire.Stream, error) {
			return memoryStream{io.MultiReader(bytes.NewReader(list), bytes.NewReader(pack))}, nil
		}}}
		rs := &refSet{}
		b := &listBuilder{f: git, ctx: t.Context(), rs: rs}
		rs.server, err = client.List(t.Context(), wantedRefs, b.add)
		if err != nil {
			if err := r.wireError(err); strings.ContainsFunc(printable(err.Error()), isControl) {
				t.Errorf("%q", err)
			}
			return
		}
		rs.list = b.list.sort()
		for ref := range rs.all() {
			if strings.ContainsFunc(ref.name, isControl) {
				t.Errorf("a reference called %q", ref.name)
			}
		}
		if err := r.init(); err != nil {
			t.Fatal(err)
		}
		_, err = r.receive(t.Context(), rs, &fetchRequest{wants: []string{someHash}, depth: 1})
		sound(t, toAthensError("git.test/m", "", err))
	})
}

// proxyServer is a host whose page names itself as a GOPROXY server, of which all
// files of one kind are the same.
type proxyServer struct{ list, info, mod []byte }

func (s proxyServer) RoundTrip(r *http.Request) (*http.Response, error) {
	body := s.info
	switch {
	case r.URL.Query().Has("go-get"):
		body = []byte(`<meta name="go-import" content="corp.test/m mod https://goproxy.test">`)
	case strings.HasSuffix(r.URL.Path, "/list"):
		body = s.list
	case strings.HasSuffix(r.URL.Path, ".mod"):
		body = s.mod
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(body)), Header: http.Header{}, Request: r}, nil
}

// FuzzGoproxy does the same to a module that a GOPROXY server holds.
func FuzzGoproxy(f *testing.F) {
	f.Add([]byte("v1.0.0\nv1\nv1.1.0-rc.1 2020-01-01\n\nv1.0.0+meta\n"), []byte(`{"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}`), []byte("module corp.test/m\n"), "v1")
	f.Add([]byte("v1.2.3-0.20200101000000-abcdefabcdef\r\n\x1b[31m v1.0.0"), []byte(`{"Version":"../../x","Origin":{"URL":"\u001b"}}`), []byte{}, "main")
	f.Add([]byte{}, []byte(`[[[[`), []byte("\x00"), "latest")
	f.Fuzz(func(t *testing.T, list, info, mod []byte, query string) {
		git, err := New(t.TempDir(), &Options{Transport: proxyServer{list, info, mod}, Netrc: none, GitConfig: none, SSHDir: none})
		if err != nil {
			t.Fatal(err)
		}
		defer git.Close()
		const path = "corp.test/m"
		versions, err := git.Versions(t.Context(), path)
		sound(t, err)
		for _, v := range versions {
			if module.CanonicalVersion(v) != v || module.IsPseudoVersion(v) {
				t.Errorf("lists %q", v)
			}
		}
		found, err := git.Resolve(t.Context(), path, query)
		sound(t, err)
		if err == nil && module.CanonicalVersion(found.Version) != found.Version {
			t.Errorf("%q is %q", query, found.Version)
		}
		c, err := git.Fetch(t.Context(), module.Version{Path: path, Version: "v1.0.0"})
		sound(t, err)
		if err == nil {
			_, err = c.Info(t.Context())
			sound(t, err)
			_, err = c.Mod(t.Context())
			sound(t, err)
		}
	})
}
