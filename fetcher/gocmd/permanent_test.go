package gocmd_test

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/internal/modtest"
)

// hopeless has a version for each kind of content that the go command refuses for ever.
const hopeless = `# Versions that no retry can mend.
repo corp.test/no
write go.mod "module corp.test/no\n\ngo 1.999\n"
commit 2022-01-01T10:00:00Z Needs a newer go
tag v1.0.0
write go.mod "\x00\x01"
commit 2022-01-02T10:00:00Z A go.mod that is none
tag v1.1.0
write go.mod "module corp.test/no\n"
write aux.go "package no\n"
commit 2022-01-03T10:00:00Z A name that Windows does not allow
tag v1.2.0
rm aux.go
write GO.MOD "module corp.test/no\n"
commit 2022-01-04T10:00:00Z A second go.mod
tag v1.3.0
rm GO.MOD
write go.mod "module corp.test/no/v3\n"
commit 2022-01-05T10:00:00Z Another major version
tag v2.0.0
`

// TestHopelessIsFinal asks the real go command for what no retry can mend, one of each
// kind of its texts. A scheduler gives up on all of them, and an outage is none of them.
func TestHopelessIsFinal(t *testing.T) {
	t.Parallel()
	net := modtest.NewInternet(t, modtest.NewRepo(t, hopeless))
	pages(net, map[string]string{
		"corp.test/scheme": "corp.test/scheme mod xyz://corp.test/no", "corp.test/rel": "corp.test/rel git corp.test/no",
		"corp.test/file": "corp.test/file mod file:///srv", "corp.test/hg": "corp.test/hg hg http://corp.test/no",
	})
	f := newFetcher(t, net, func(o *gocmd.Options) { o.GOVCS = "corp.test/hg:git,*:all" })
	missing, invalid, blocked := new(*athens.MissingError), new(*athens.InvalidError), new(*athens.BlockedError)
	t.Run("kinds", func(t *testing.T) {
		for _, c := range []struct {
			path, version string
			kind          any
			says          string
		}{
			{"corp.test/no", "v1.0.0", invalid, "Options.Go"},
			{"corp.test/no", "v1.1.0", missing, "missing module path"},
			{"corp.test/no", "v1.2.0", invalid, "malformed file path"},
			{"corp.test/no", "v1.3.0", invalid, "lowercase"},
			{"corp.test/no", "v2.0.0+incompatible", missing, "go.mod"},
			{"corp.test/no/v2", "v2.0.0", missing, "go.mod"},
			{"corp.test/no/v1", "v1.0.0", missing, "malformed module path"},
			{"corp.test/scheme", "v1.0.0", missing, "invalid proxy URL scheme"},
			{"corp.test/rel", "v1.0.0", missing, "no scheme"},
			{"corp.test/file", "v1.0.0", missing, "file scheme"},
			{"corp.test/hg", "v1.0.0", blocked, "GOVCS"},
		} {
			t.Run(c.path+"@"+c.version, func(t *testing.T) {
				t.Parallel()
				content, err := f.Fetch(t.Context(), module.Version{Path: c.path, Version: c.version})
				if err == nil {
					err = content.Zip(t.Context(), io.Discard)
				}
				assert.ErrorAs(t, err, c.kind)
				assert.True(t, athens.Final(err), "%v", err)
				assert.ErrorContains(t, err, c.says)
			})
		}
	})
	net.Break("corp.test/no/info/refs", modtest.Status(http.StatusBadGateway))
	_, err := f.Resolve(t.Context(), "corp.test/no", "v1.0.1")
	assert.False(t, athens.Final(err), "%v", err)
}

// What the go command and its tools say of addresses inside and of local files stays
// inside: clients see errors, and the log has the whole.
func TestNoAddressesInErrors(t *testing.T) {
	for _, says := range []string{
		`dial tcp 10.1.2.3:443: connect: connection refused`, `dial tcp: lookup corp.test on 10.1.2.3:53: no such host`,
		`git ls-remote: exit status 128: fatal: unable to access 'http://10.1.2.3:8080/x/': Failed to connect to 10.1.2.3 port 8080`,
		`ssh: connect to host fd00::1:2 port 22: Connection refused`, `svn: E170013: [fd00::1:2]:3690`, `open C:\Users\srv me\x\y.idx: bad`, `open \\srv\share\y.idx: bad`,
	} {
		var log strings.Builder
		answer, err := json.Marshal(map[string]any{"Path": "corp.test/m", "Error": map[string]string{"Err": "corp.test/m@v1.0.0: " + says}})
		require.NoError(t, err)
		f := standIn(t, string(answer), func(o *gocmd.Options) { o.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		_, err = f.Resolve(t.Context(), "corp.test/m", "v1.0.0")
		assert.ErrorAs(t, err, new(*athens.UnavailableError))
		for _, secret := range []string{"10.1.2.3", "fd00", "srv me", "y.idx"} {
			for e := err; e != nil; e = errors.Unwrap(e) {
				assert.NotContains(t, e.Error(), secret)
			}
		}
		for _, address := range []string{"10.1.2.3", "fd00::1:2"} {
			assert.Equal(t, strings.Contains(says, address), strings.Contains(log.String(), address), "%s", log.String())
		}
	}
}
