package fetcher

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/packtest"
)

// torrent answers with a beginning, and then with what next makes, for ever. It
// counts what is read of it.
type torrent struct {
	begin io.Reader
	next  func(i int) string
	n     int
	rest  string
	read  *atomic.Int64
}

func (s *torrent) Read(p []byte) (int, error) {
	n, _ := s.begin.Read(p)
	if n == 0 {
		if s.rest == "" {
			s.rest = s.next(s.n)
			s.n++
		}
		n = copy(p, s.rest)
		s.rest = s.rest[n:]
	}
	s.read.Add(int64(n))
	return n, nil
}

// hostileHost answers by the kind of request: a page, a list, a pack.
type hostileHost struct {
	page, list, pack func() io.Reader
}

func (h hostileHost) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, header := h.page, http.Header{}
	switch {
	case strings.HasSuffix(r.URL.Path, "/info/refs"):
		header.Set("Content-Type", "application/x-git-upload-pack-advertisement")
		answer = h.list
	case r.Method == http.MethodPost:
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		answer = h.pack
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(answer()), Header: header, Request: r}, nil
}

func text(s string) func() io.Reader { return func() io.Reader { return strings.NewReader(s) } }

// Repositories and pages that don't end, or grow when they are unpacked: each is an
// error after what it may have of bytes, memory and disk, and leaves no file.
func TestHostileHosts(t *testing.T) {
	var read atomic.Int64
	endless := func(begin string, next func(int) string) func() io.Reader {
		return func() io.Reader { return &torrent{begin: strings.NewReader(begin), next: next, read: &read} }
	}
	repeated := func(s string) func(int) string {
		s = strings.Repeat(s, 1+(32<<10)/len(s))
		return func(int) string { return s }
	}
	good := pkt(goodPrefix, "") + goodList()
	block := make([]byte, 1<<16)
	exploding := new(packtest.Maker)
	exploding.Add(packtest.Blob, len(block), block, 0)
	for i := range 3 {
		d := packtest.Bomb(1<<10 + i)
		exploding.Add(packtest.OffsetDelta, len(d), d, 1+i)
	}
	sideband := func(data []byte) string { return pkt("NAK\n", "\x01"+string(data), "") }
	const page = `<meta name="go-import" content="corp.test/m git https://corp.test/m">`
	for name, c := range map[string]struct {
		hostileHost
		most int64 // that may be read, in MiB
		heap uint64
	}{
		"page": {hostileHost{page: endless("<html><head>", repeated("<p>"))}, 2, 64},
		"page of tags": {hostileHost{page: endless("", func(i int) string {
			return fmt.Sprintf(`<meta name="go-import" content="corp.test/m%d git https://corp.test/m">`, i)
		})}, 2, 64},
		"page's tag":   {hostileHost{page: endless(`<meta name="go-import" content="`, repeated("x"))}, 2, 64},
		"references":   {hostileHost{page: text(page), list: endless(pkt(goodPrefix, "", someHash+" HEAD"+someCaps+"\n"), func(i int) string { return pkt(fmt.Sprintf("%s refs/tags/v1.0.%d\n", someHash, i)) })}, 110, 1 << 10},
		"same ones":    {hostileHost{page: text(page), list: endless(pkt(goodPrefix, "", someHash+" HEAD"+someCaps+"\n"), repeated(pkt(someHash+" refs/tags/v1.0.0\n")))}, 110, 1 << 10},
		"capabilities": {hostileHost{page: text(page), list: endless("fff0"+someHash+" HEAD\x00", repeated("a=b "))}, 70, 256},
		"shallows":     {hostileHost{page: text(page), list: text(good), pack: endless("", repeated(pkt("shallow "+someHash+"\n")))}, 18, 256},
		"acknowledged": {hostileHost{page: text(page), list: text(good), pack: endless(pkt("shallow "+someHash+"\n", ""), repeated(pkt("ACK "+someHash+"\n")))}, 18, 256},
		"nothing new":  {hostileHost{page: text(page), list: text(good), pack: endless("0000", repeated(pkt("NAK\n")))}, 18, 256},
		"progress":     {hostileHost{page: text(page), list: text(good), pack: endless("0000"+pkt("NAK\n"), repeated(pkt("\x02still counting\n")))}, 34, 256},
		"pack":         {hostileHost{page: text(page), list: text(good), pack: endless("0000"+pkt("NAK\n", "\x01PACK\x00\x00\x00\x02\xff\xff\xff\xff"), repeated(pkt("\x01"+strings.Repeat("\x91", 1000))))}, 34, 256},
		"delta bomb":   {hostileHost{page: text(page), list: text(good), pack: text("0000" + sideband(exploding.Pack()))}, 0, 256},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			git, err := New(dir, &Options{Transport: c.hostileHost, Netrc: none, GitConfig: none, SSHDir: none, MaxFetchBytes: 32 << 20})
			require.NoError(t, err)
			defer git.Close()
			read.Store(0)
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			content, err := git.Fetch(context.Background(), module.Version{Path: "corp.test/m", Version: "v1.0.0"})
			if err == nil {
				err = content.Zip(t.Context(), io.Discard)
			}
			runtime.ReadMemStats(&after)
			require.Error(t, err)
			sound(t, err)
			assert.Less(t, len(err.Error()), 1000)
			if c.pack != nil {
				assert.ErrorAs(t, err, new(*athens.InvalidError))
			}
			assert.LessOrEqual(t, read.Load()>>20, c.most, "MiB read")
			assert.LessOrEqual(t, (after.TotalAlloc-before.TotalAlloc)>>20, c.heap, "MiB allocated")
			var size int64
			require.NoError(t, filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					info, infoErr := d.Info()
					require.NoError(t, infoErr)
					size += info.Size()
				}
				return err
			}))
			assert.LessOrEqual(t, size, int64(64<<10), "bytes left on disk")
		})
	}
}
