package fetcher

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/flock"
)

// stallingHost sends a part of a pack, says so, and then nothing more.
type stallingHost struct {
	size  int
	ended context.Context
	sent  func()
}

func (h stallingHost) RoundTrip(r *http.Request) (*http.Response, error) {
	var body io.Reader
	header := http.Header{}
	switch {
	case r.URL.Query().Has("go-get"):
		body = strings.NewReader(fmt.Sprintf(`<meta name="go-import" content="%s/m git https://%s/m">`, r.URL.Host, r.URL.Host))
	case strings.HasSuffix(r.URL.Path, "/info/refs"):
		header.Set("Content-Type", "application/x-git-upload-pack-advertisement")
		body = strings.NewReader(pkt(goodPrefix, "") + goodList())
	default:
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return nil, err
		}
		sent := sync.OnceFunc(h.sent)
		part := pkt("\x01" + strings.Repeat("x", 32<<10))
		body = io.MultiReader(strings.NewReader("0000"+pkt("NAK\n", "\x01PACK\x00\x00\x00\x02\x00\xff\xff\xff")), strings.NewReader(strings.Repeat(part, h.size>>15)),
			readFunc(func([]byte) (int, error) {
				sent()
				select {
				case <-r.Context().Done():
				case <-h.ended.Done():
				}
				return 0, io.ErrUnexpectedEOF
			}))
	}
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(body), Header: header, Request: r}, nil
}

// Packs that stall share MaxCacheBytes of disk, and what fails leaves nothing.
func TestStalledPacksShareTheDisk(t *testing.T) {
	const hosts, most = 24, 8 << 20
	ended, end := context.WithCancel(t.Context())
	defer end()
	var settled sync.WaitGroup // one for each fetch that stalls or fails
	settled.Add(hosts)
	dir := t.TempDir()
	git, err := New(dir, &Options{
		Transport: stallingHost{size: 2 << 20, ended: ended, sent: settled.Done},
		Netrc:     none, GitConfig: none, SSHDir: none, MaxCacheBytes: most,
	})
	require.NoError(t, err)
	defer git.Close()
	var all sync.WaitGroup
	busy := make(chan error, hosts)
	for i := range hosts {
		all.Go(func() {
			_, err := git.Fetch(t.Context(), module.Version{Path: fmt.Sprintf("h%d.test/m", i), Version: "v1.0.0"})
			if strings.Contains(fmt.Sprint(err), "MaxCacheBytes") {
				busy <- err
				settled.Done()
			}
		})
	}
	settled.Wait()
	assert.LessOrEqual(t, folderSize(dir), int64(most+hosts<<10), "and a few small files for each")
	assert.NotEmpty(t, busy)
	end()
	all.Wait()
	close(busy)
	for err := range busy {
		assert.ErrorAs(t, err, new(*athens.UnavailableError))
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left, "what fails leaves no bare repository")
	assert.Zero(t, git.incoming.used)
}

// A fetch that is the only one to write needs no room in MaxCacheBytes. Beside others
// it does, and others need room beside it.
func TestMaxCacheBytesLeavesRoomForOneFetch(t *testing.T) {
	trims := 0
	in := &incoming{limit: 10, trim: func() { trims++ }}
	refused := func(a *incomingFetch, n int64) {
		t.Helper()
		var busy *athens.UnavailableError
		require.ErrorAs(t, a.take(&a.pack, n), &busy)
		assert.ErrorIs(t, busy, errDiskBusy)
	}
	first, second := &incomingFetch{in: in, own: 20}, &incomingFetch{in: in, own: 20}
	require.NoError(t, first.take(&first.pack, 11))
	require.NoError(t, first.takeExtra(20))
	assert.ErrorContains(t, first.takeExtra(1), "MaxFetchBytes sets this limit")
	refused(second, 1)
	require.NoError(t, first.take(&first.pack, minTrimBytes), "the second has nothing, and stops nobody")
	assert.Equal(t, 1, trims)
	first.end()

	require.NoError(t, second.take(&second.pack, 4))
	require.NoError(t, first.take(&first.pack, 6))
	refused(first, 1)
	refused(second, 1)
	second.end()
	require.NoError(t, first.take(&first.pack, 1))
	first.end()
	assert.Zero(t, in.used)
}

// What a process that was killed has received is removed at once, and what
// another process receives is not.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	make := func(name string) string {
		dir := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(dir, 0o777))
		return dir
	}
	dead, living, young := make("a/incoming-1"), make("a/incoming-2"), make("a/incoming-3")
	require.NoError(t, os.WriteFile(filepath.Join(dead, lockFile), nil, 0o666))
	lock, err := os.Create(filepath.Join(living, lockFile))
	require.NoError(t, err)
	defer flock.Release(lock)
	_, err = flock.Try(lock)
	require.NoError(t, err)
	empty := make("b")
	require.NoError(t, os.WriteFile(filepath.Join(empty, "HEAD"), nil, 0o666))
	long := time.Now().Add(-2 * staleAfter)
	require.NoError(t, os.Chtimes(empty, long, long))
	f, err := New(dir, &Options{Netrc: none, GitConfig: none, SSHDir: none})
	require.NoError(t, err)
	defer f.Close()
	if flock.Supported {
		assert.NoDirExists(t, dead)
	}
	assert.DirExists(t, living)
	assert.DirExists(t, young)
	assert.NoDirExists(t, empty)
}
