package packtest

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// A Host serves the packs of a corpus as repositories over http, each at a host of
// its own: the module HOST/m, with one version, v1.0.0. It answers as an HTTP proxy
// that refuses CONNECT, and reads packs from files, so that it takes no memory for
// them.
type Host struct {
	dir   string
	repos map[string]repo // by host
}

type repo struct {
	pack string // name of its file
	tip  string // what the references name
}

// NewHost returns a Host that keeps its packs in dir.
func NewHost(dir string) *Host { return &Host{dir, map[string]repo{}} }

// Add adds the repository of a case. All are added before the first request.
func (h *Host) Add(host string, c Case) error {
	name := filepath.Join(h.dir, host)
	h.repos[host] = repo{name, fmt.Sprintf("%x", c.Tip)}
	return c.Pack.WriteFile(name)
}

// ServeHTTP implements [http.Handler].
func (h *Host) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, ok := h.repos[r.Host]
	switch {
	case r.Method == http.MethodConnect, !ok:
		http.Error(w, "there is no such host", http.StatusNotFound)
	case r.URL.Query().Has("go-get"):
		fmt.Fprintf(w, `<meta name="go-import" content="%s/m git http://%s/m">`, r.Host, r.Host)
	case strings.HasSuffix(r.URL.Path, "/info/refs"):
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		head := fmt.Sprintf("%s HEAD\x00side-band-64k ofs-delta shallow no-progress\n", c.tip)
		tag := fmt.Sprintf("%s refs/tags/v1.0.0\n", c.tip)
		fmt.Fprintf(w, "001e# service=git-upload-pack\n0000%04x%s%04x%s0000", len(head)+4, head, len(tag)+4, tag)
	default:
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
		_ = sendPack(w, c.pack) // the client may leave
	}
}

// sendPack sends a pack as a server does: in packets of a band.
func sendPack(w io.Writer, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.WriteString(w, "00000008NAK\n"); err != nil {
		return err
	}
	part := make([]byte, 60_000)
	for {
		n, err := f.Read(part)
		if err == io.EOF {
			_, err = io.WriteString(w, "0000")
			return err
		}
		if err != nil {
			return err
		}
		if _, err := w.Write(append(fmt.Appendf(nil, "%04x\x01", n+5), part[:n]...)); err != nil {
			return err
		}
	}
}
