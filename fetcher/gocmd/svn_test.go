package gocmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/internal/modtest"
)

// The go command asks a Subversion server for each file, and takes a failure for
// a file that is not there: it makes up a go.mod then.
func TestSvnGoMod(t *testing.T) {
	t.Parallel()
	for _, tool := range []string{"svn", "svnadmin", "svnserve"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	w := newWorkshop(t)
	url, _ := buildSvn(t, w)
	w.page("corp.test/m", "svn "+url)
	w.page("corp.test/plain", "svn "+url+"/plain")
	w.write("work/plain/plain.go", "package plain\n")
	w.run("work", "svn", "add", "-q", "plain")
	w.run("work", "svn", "commit", "-q", "-m", "No go.mod")

	allow := func(o *gocmd.Options) { o.Env, o.GOVCS = w.env, "*:all" }
	compare(t, w.answer, newFetcher(t, w.net, allow), "corp.test/plain@latest")

	// An svn that fails to read files, as when a connection is lost.
	svn, err := exec.LookPath("svn")
	require.NoError(t, err)
	bin := t.TempDir()
	script := "#!/bin/sh\nif [ \"$1\" = cat ]; then echo 'svn: E170013: Unable to connect' >&2; exit 1; fi\nexec " + svn + " \"$@\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "svn"), []byte(script), 0o777))
	f := newFetcher(t, w.net, func(o *gocmd.Options) {
		allow(o)
		o.Env = append(append([]string{}, o.Env...), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	})
	info, err := f.Resolve(t.Context(), "corp.test/m", "latest")
	require.NoError(t, err)
	_, err = modtest.FetchAll(t, f, "corp.test/m", info.Version)
	var outage *athens.UnavailableError
	assert.ErrorAs(t, err, &outage)
	assert.ErrorContains(t, err, "svn could not read the go.mod")
	got, err := modtest.FetchAll(t, f, "corp.test/plain", "v0.0.0-"+info.Time.Format("20060102150405")+"-000000000002")
	assert.Error(t, err, "plain is younger: %+v", got)
}
