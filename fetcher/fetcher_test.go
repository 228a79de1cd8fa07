package fetcher_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
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
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/internal/modtest"
)

// seriesRepo has a commit and a tag v1.N.0 for each of ten days.
func seriesRepo(t testing.TB) *modtest.Repo {
	noise := make([]byte, 20_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	script := fmt.Sprintf("# Ten versions.\nrepo git.test/series\nwrite go.mod \"module git.test/series\\n\"\nwrite data %x\n", noise)
	for i := range 10 {
		script += fmt.Sprintf("write f%d.go \"package series\\n\"\ncommit 2022-01-%02dT10:00:00Z Day\ntag v1.%d.0\n", i, i+1, i)
	}
	return modtest.NewRepo(t, script+"write end.go \"package series\\n\"\ncommit 2022-02-01T10:00:00Z End\n")
}

const series = "git.test/series"

func TestOneAdvertisementForManyQuestions(t *testing.T) {
	net := modtest.NewInternet(t, seriesRepo(t))
	f := newFetcher(t, net, nil)
	_, err := f.Versions(t.Context(), series)
	require.NoError(t, err)
	_, err = f.Resolve(t.Context(), series, "latest")
	require.NoError(t, err)
	_, err = modtest.FetchAll(t, f, series, "v1.9.0")
	require.NoError(t, err)
	_, err = f.Resolve(t.Context(), series, "v1.9.0")
	require.NoError(t, err)
	assert.Equal(t, 1, net.Count(series+"/info/refs"))
	assert.Equal(t, 1, net.Packs(series))

	packs := func() (list []modtest.Request) {
		for _, r := range net.Requests(series + "/git-upload-pack") {
			if r.Pack {
				list = append(list, r)
			}
		}
		return list
	}
	before := packs()[0].Sent
	for i := range 9 {
		_, err := modtest.FetchAll(t, f, series, fmt.Sprintf("v1.%d.0", i))
		require.NoError(t, err)
	}
	assert.Equal(t, 1, net.Count(series+"/info/refs"))
	assert.Equal(t, 10, net.Packs(series))
	for _, r := range packs()[1:] {
		assert.Less(t, r.Sent, before/4, "what is here already was sent again")
	}
	_, err = modtest.FetchAll(t, f, series, "v1.3.0")
	require.NoError(t, err)
	assert.Equal(t, 10, net.Packs(series), "what is here is fetched again")
}

func TestRefusalsFetchNothing(t *testing.T) {
	net := modtest.NewInternet(t, seriesRepo(t))
	f := newFetcher(t, net, nil)
	for range 3 {
		for _, q := range []string{"v1.99.0", "v2.0.0", "nosuch", "v9"} {
			_, err := f.Resolve(t.Context(), series, q)
			assert.ErrorAs(t, err, new(*athens.MissingError), q)
		}
		_, err := f.Versions(t.Context(), "git.test/nosuch")
		assert.ErrorAs(t, err, new(*athens.MissingError))
		_, err = f.Versions(t.Context(), "git.test/series.git/none")
		assert.NoError(t, err)
		_, err = f.Versions(t.Context(), "git.test/none.git")
		assert.ErrorAs(t, err, new(*athens.MissingError))
	}
	assert.Zero(t, net.Packs(""))
	assert.Equal(t, 1, net.Count(series+"/info/refs"))
	assert.Equal(t, 1, net.Count("git.test/nosuch"))
	assert.Equal(t, 1, net.Count("git.test/none/info/refs"))
}

func TestWhatIsPushedIsSoonFound(t *testing.T) {
	repo := seriesRepo(t)
	net := modtest.NewInternet(t, repo)
	f := newFetcher(t, net, func(o *fetcher.Options) { o.MissTTL = time.Nanosecond })
	tip := pseudo(repo, "v1.9.0", "main")
	_, err := modtest.FetchAll(t, f, series, tip)
	require.NoError(t, err)
	packs := net.Packs(series)
	repo.Run("write more.go \"package series\\n\"\ncommit 2022-03-01T10:00:00Z More\ntag v2.0.0\ntag v1.10.0\n")
	got, err := modtest.FetchAll(t, f, series, "v1.10.0")
	require.NoError(t, err)
	assert.Equal(t, modtest.NewGo(t, net).MustDownload(series+"@v1.10.0").Sum, got.Sum)
	info, err := f.Resolve(t.Context(), series, "latest")
	require.NoError(t, err)
	assert.Equal(t, "v1.10.0", info.Version)
	assert.Equal(t, packs+1, net.Packs(series)-1, "the go command's is one")
}

func TestASecondFetcherUsesWhatTheFirstFetched(t *testing.T) {
	net := modtest.NewInternet(t, seriesRepo(t))
	dir := t.TempDir()
	for range 2 {
		f, err := fetcher.New(dir, &fetcher.Options{Transport: net.Transport(), Insecure: modtest.Insecure, Netrc: "none"})
		require.NoError(t, err)
		_, err = modtest.FetchAll(t, f, series, "v1.9.0")
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	assert.Equal(t, 1, net.Packs(series))
}

func TestManyAtOnce(t *testing.T) {
	net := modtest.NewInternet(t, seriesRepo(t))
	f := newFetcher(t, net, nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			_, err := modtest.FetchAll(t, f, series, "v1.9.0")
			assert.NoError(t, err)
		})
	}
	all.Wait()
	assert.Equal(t, 1, net.Packs(series))
	assert.Equal(t, 1, net.Count(series+"/info/refs"))
}

func TestCutHistoryIsNoAnswer(t *testing.T) {
	repo := seriesRepo(t)
	// The server itself has only a part of the history.
	repo.Run("git tag -d v1.1.0 v1.2.0 v1.3.0 v1.4.0 v1.5.0 v1.6.0 v1.7.0 v1.8.0")
	require.NoError(t, os.WriteFile(filepath.Join(repo.Dir(), "shallow"), []byte(repo.Hash("v1.9.0")+"\n"), 0o600))
	net := modtest.NewInternet(t, repo)
	f := newFetcher(t, net, nil)
	for _, base := range []string{"v1.0.0", "v1.9.0"} {
		_, err := f.Fetch(t.Context(), module.Version{Path: series, Version: pseudo(repo, base, "main")})
		require.ErrorIs(t, err, errors.ErrUnsupported)
		assert.NotErrorAs(t, err, new(*athens.MissingError))
	}
}

func TestOutages(t *testing.T) {
	t.Parallel()
	post := func(r *http.Request) bool { return r.Method == http.MethodPost }
	garbage := strings.Repeat("0008NAK\nPACK\x00\x00\x00\x02\xff\xff\xff\xff garbage", 1000)
	for name, fault := range map[string]struct {
		where string
		fault modtest.Fault
	}{
		"page cut":         {series, modtest.Cut()},
		"page 500":         {series, modtest.Status(500)},
		"page 401":         {series, modtest.Status(401)},
		"page 429":         {series, modtest.Status(429)},
		"refs cut":         {series + "/info/refs", modtest.Cut()},
		"refs 503":         {series + "/info/refs", modtest.Status(503)},
		"refs 401":         {series + "/info/refs", modtest.Status(401)},
		"refs 403":         {series + "/info/refs", modtest.Status(403)},
		"refs truncated":   {series + "/info/refs", modtest.Truncate(100)},
		"refs garbage":     {series + "/info/refs", modtest.Body("<html>welcome</html>")},
		"refs oversized":   {series + "/info/refs", modtest.Oversize(1 << 20)},
		"pack cut":         {series + "/git-upload-pack", modtest.Cut()},
		"pack 500":         {series + "/git-upload-pack", modtest.Status(500)},
		"pack 403":         {series + "/git-upload-pack", modtest.Status(403)},
		"pack truncated":   {series + "/git-upload-pack", modtest.Only(post, modtest.Truncate(200))},
		"pack garbage":     {series + "/git-upload-pack", modtest.Body(garbage)},
		"pack empty":       {series + "/git-upload-pack", modtest.Body("")},
		"pack not sent":    {series + "/git-upload-pack", modtest.Body("0008NAK\n0000")},
		"pack of no kind":  {series + "/git-upload-pack", modtest.Body("0008NAK\n0023\x01PACK\x00\x00\x00\x02\x00\x00\x00\x00" + strings.Repeat("x", 18) + "0000")},
		"pack error":       {series + "/git-upload-pack", modtest.Body("0010ERR no way\n\n")},
		"pack side error":  {series + "/git-upload-pack", modtest.Body("0008NAK\n000c\x03oh no0000")},
		"pack lengths off": {series + "/git-upload-pack", modtest.Body("fffeNAK\n0001")},
	} {
		for _, version := range []int{0, 2} {
			t.Run(fmt.Sprintf("%s in version %d", name, version), func(t *testing.T) {
				t.Parallel()
				net := modtest.NewInternet(t, seriesRepo(t))
				if version == 0 {
					net.Break(series+"/info/refs", modtest.OldGit())
				}
				if strings.HasPrefix(name, "pack") {
					fault.fault = modtest.AtPack(fault.fault)
				}
				sourceUnavailable(t, net, name, fault.where, fault.fault)
			})
		}
	}
}

// sourceUnavailable breaks what is asked for a version, and then mends it.
func sourceUnavailable(t *testing.T, net *modtest.Internet, name, where string, fault modtest.Fault) {
	dir := t.TempDir()
	f, err := fetcher.New(dir, &fetcher.Options{
		Transport: net.Transport(), Insecure: modtest.Insecure, Netrc: "none", MissTTL: time.Nanosecond, DownTTL: time.Nanosecond,
		PageTimeout: 20 * time.Second, FetchTimeout: 20 * time.Second, MaxRefsBytes: 1 << 20,
	})
	require.NoError(t, err)
	defer f.Close()
	mend := net.Break(where, fault)
	_, err = modtest.FetchAll(t, f, series, "v1.9.0")
	require.Error(t, err)
	assert.NotErrorAs(t, err, new(*athens.MissingError))
	if strings.Contains(name, "401") || strings.Contains(name, "403") {
		assert.ErrorContains(t, err, "credentials")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*", "incoming-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
	mend()
	if name != "refs oversized" {
		_, err = modtest.FetchAll(t, f, series, "v1.9.0")
		assert.NoError(t, err, "after the end of the outage")
	}
}

func TestSlowSourceIsATimeout(t *testing.T) {
	net := modtest.NewInternet(t, seriesRepo(t))
	release := make(chan struct{})
	defer close(release)
	net.Break(series+"/git-upload-pack", modtest.AtPack(modtest.Hang(release)))
	f := newFetcher(t, net, func(o *fetcher.Options) { o.FetchTimeout = 200 * time.Millisecond })
	_, err := f.Fetch(t.Context(), module.Version{Path: series, Version: "v1.9.0"})
	var outage *athens.UnavailableError
	require.ErrorAs(t, err, &outage)
	assert.True(t, outage.Timeout(), "%v", err)
}

func TestTooLargeIsRefused(t *testing.T) {
	net := modtest.NewInternet(t, seriesRepo(t))
	f := newFetcher(t, net, func(o *fetcher.Options) { o.MaxFetchBytes = 300 })
	_, err := f.Fetch(t.Context(), module.Version{Path: series, Version: "v1.9.0"})
	assert.ErrorAs(t, err, new(*athens.InvalidError))
	assert.ErrorContains(t, err, "too large")
}

func TestCredentials(t *testing.T) {
	for name, set := range map[string]func(*testing.T, *fetcher.Options){
		"netrc": func(t *testing.T, o *fetcher.Options) {
			o.Netrc = filepath.Join(t.TempDir(), "netrc")
			require.NoError(t, os.WriteFile(o.Netrc, []byte("machine git.test login ada password s3cret"), 0o600))
		},
		"hook": func(_ *testing.T, o *fetcher.Options) {
			o.Credentials = func(_ context.Context, u *url.URL) (http.Header, error) {
				if u.Hostname() != "git.test" {
					return nil, errors.New("another host")
				}
				return fetcher.BasicAuth("ada", "s3cret"), nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			net := modtest.NewInternet(t, seriesRepo(t))
			net.Break("git.test", modtest.BasicAuth("ada", "s3cret"))
			_, err := newFetcher(t, net, nil).Versions(t.Context(), series)
			require.ErrorAs(t, err, new(*athens.UnavailableError))
			assert.ErrorContains(t, err, "credentials")

			var log bytes.Buffer
			f := newFetcher(t, net, func(o *fetcher.Options) {
				set(t, o)
				o.Logger = slog.New(slog.NewTextHandler(&log, nil))
			})
			got, err := modtest.FetchAll(t, f, series, "v1.0.0")
			require.NoError(t, err)
			assert.Contains(t, log.String(), "git fetch")
			assert.NotContains(t, log.String()+got.Info.Origin.URL, "s3cret")
		})
	}
}

func TestCredentialsStayAtTheirHost(t *testing.T) {
	repo := modtest.NewRepo(t, libRepo)
	net := modtest.NewInternet(t, repo)
	net.Handle("corp.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://sub.corp.test"+r.URL.Path+"?"+r.URL.RawQuery, http.StatusFound)
	}))
	net.Handle("sub.corp.test", pageCase{pages: map[string]string{"/lib": tag("corp.test/lib git http://user:s3cret@moved.test/lib")}})
	net.Handle("moved.test", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://git.test"+r.URL.Path+"?"+r.URL.RawQuery, http.StatusFound)
	}))
	name := filepath.Join(t.TempDir(), "netrc")
	require.NoError(t, os.WriteFile(name, []byte("machine corp.test login ada password s3cret"), 0o600))
	f := newFetcher(t, net, func(o *fetcher.Options) { o.Netrc = name })
	got, err := modtest.FetchAll(t, f, "corp.test/lib", "v1.0.0")
	require.NoError(t, err)
	assert.Equal(t, "http://moved.test/lib", got.Info.Origin.URL)
	for _, r := range net.Requests("") {
		has := r.Header.Get("Authorization") != ""
		assert.Equal(t, r.Host == "corp.test" || r.Host == "moved.test", has, "%s", r)
	}
}

func TestWithoutTLSNoCredentials(t *testing.T) {
	net := modtest.NewInternet(t, modtest.NewRepo(t, libRepo))
	net.Secure("corp.test")
	net.Handle("corp.test", pageCase{pages: map[string]string{"/lib": tag(libTag)}})
	asked := false
	f := newFetcher(t, net, func(o *fetcher.Options) {
		o.Insecure = "none"
		o.Credentials = func(_ context.Context, u *url.URL) (http.Header, error) {
			asked = asked || u.Scheme != "https"
			return fetcher.BasicAuth("ada", "s3cret"), nil
		}
	})
	_, err := modtest.FetchAll(t, f, "corp.test/lib", "v1.0.0")
	require.NoError(t, err, "the page says that the repository is reached by http")
	assert.False(t, asked)
	for _, r := range net.Requests("git.test") {
		assert.Empty(t, r.Header.Get("Authorization"), "%s", r)
	}
}

func TestSmallCache(t *testing.T) {
	a, b := seriesRepo(t), modtest.NewRepo(t, libRepo)
	net := modtest.NewInternet(t, a, b)
	net.Handle("corp.test", pageCase{pages: map[string]string{"/lib": tag(libTag)}})
	f := newFetcher(t, net, func(o *fetcher.Options) { o.MaxCacheBytes = 1 })
	first, err := f.Fetch(t.Context(), module.Version{Path: series, Version: "v1.9.0"})
	require.NoError(t, err)
	_, err = modtest.FetchAll(t, f, "corp.test/lib", "v1.0.0")
	require.NoError(t, err)
	assert.Equal(t, 1, net.Packs(series))
	// The first repository was removed to make room; its content is not lost.
	require.NoError(t, first.Zip(t.Context(), io.Discard))
	assert.Equal(t, 2, net.Packs(series))
}

func TestDamagedCacheIsFetchedAnew(t *testing.T) {
	net := modtest.NewInternet(t, seriesRepo(t))
	dir := t.TempDir()
	open := func() *fetcher.Fetcher {
		f, err := fetcher.New(dir, &fetcher.Options{Transport: net.Transport(), Insecure: modtest.Insecure, Netrc: "none"})
		require.NoError(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}
	f := open()
	want, err := modtest.FetchAll(t, f, series, "v1.0.0")
	require.NoError(t, err)
	_, err = modtest.FetchAll(t, f, series, "v1.9.0") // its objects come one by one
	require.NoError(t, err)
	objects, err := filepath.Glob(filepath.Join(dir, "*", "objects", "??", "*"))
	require.NoError(t, err)
	require.NotEmpty(t, objects)
	for _, name := range objects {
		require.NoError(t, os.Chmod(name, 0o600))
		require.NoError(t, os.Truncate(name, 0))
	}
	f = open()
	var outage *athens.UnavailableError
	_, err = modtest.FetchAll(t, f, series, "v1.9.0")
	require.ErrorAs(t, err, &outage)
	_, err = modtest.FetchAll(t, f, series, "v1.9.0")
	assert.NoError(t, err)
	got, err := modtest.FetchAll(t, f, series, "v1.0.0")
	require.NoError(t, err)
	assert.Equal(t, want.Sum, got.Sum)
}

// A repository whose hashes are SHA-256 is refused with that reason, in each version
// of git's protocol and if it is empty.
func TestSHA256RepositoryIsToldApart(t *testing.T) {
	net := modtest.NewInternet(t, seriesRepo(t))
	serveSHA256(t, net)
	line := strings.Repeat("0", 64) + " capabilities^{}\x00object-format=sha256 agent=git/2.45"
	empty := modtest.Body(fmt.Sprintf("001e# service=git-upload-pack\n0000%04x%s\n0000", len(line)+5, line))
	net.Break(series+"/info/refs", func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			empty(next).ServeHTTP(w, r)
		})
	})
	for _, path := range []string{"corp.test/sha256", "corp.test/oldsha256", series} {
		_, err := newFetcher(t, net, nil).Versions(t.Context(), path)
		assert.ErrorAs(t, err, new(*athens.InvalidError), path)
		assert.ErrorIs(t, err, errors.ErrUnsupported, path)
		assert.ErrorContains(t, err, "SHA-256", path)
	}
}

func TestOptions(t *testing.T) {
	_, err := fetcher.New(t.TempDir(), &fetcher.Options{RefsTTL: -1})
	assert.Error(t, err)
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, nil, 0o600))
	_, err = fetcher.New(name, nil)
	assert.Error(t, err)
	f, err := fetcher.New(t.TempDir(), nil)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	_, err = f.Versions(t.Context(), "corp.test/x")
	assert.Error(t, err)
}
