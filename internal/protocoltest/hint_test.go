package protocoltest_test

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
)

// The .info of an upstream is a hint: the zip of one that says something else of a
// version, other than its commit, is the held version's.
func TestInfoOfAnotherUpstream(t *testing.T) {
	const held = `{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z","Origin":{"VCS":"git","URL":"https://a.test/m","Hash":"aaaa"}}`
	for name, c := range map[string]struct {
		info string
		ok   bool
	}{
		"time, no commit": {`{"Version":"v1.0.0","Time":"2024-01-02T03:04:06Z"}`, true},
		"no time":         {`{"Version":"v1.0.0"}`, true},
		"same commit": {`{"Version":"v1.0.0","Time":"2025-01-02T03:04:06Z","Origin":{"VCS":"hg","URL":"https://b.test/m","Hash":"aaaa",` +
			`"Ref":"refs/tags/x","Subdir":"y","TagSum":"t1:z","TagPrefix":"y/","RepoSum":"r1:z"}}`, true},
		"another commit": {`{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z","Origin":{"VCS":"git","Hash":"bbbb"}}`, false},
	} {
		t.Run(name, func(t *testing.T) { askForZip(t, true, held, c.info, c.ok) })
	}
}

// Version control is believed its time, where the commit is not known.
func TestInfoOfAnotherCommit(t *testing.T) {
	const held = `{"Version":"v1.0.0","Time":"2024-01-02T03:04:05Z"}`
	askForZip(t, false, held, held, true)
	askForZip(t, false, held, `{"Version":"v1.0.0","Time":"2024-01-02T03:04:06Z"}`, false)
}

// askForZip asks for the zip of a version that is held without it, and whose source has
// that .info.
func askForZip(t *testing.T, through bool, held, info string, ok bool) {
	t.Helper()
	withFixture(t, through, func(b *fixture) {
		v := b.source(through).Add(athenstest.Example)
		v.Info = []byte(held)
		athenstest.Hold(b, b.store.Store, v, false)
		v.Info = []byte(info)
		w, _ := athenstest.Ask(b.Context(), b, athenstest.ZipPath)
		err := b.Fill(b.Context(), athens.Fill{Module: athenstest.Example, Zip: true})
		if ok {
			assert.Equal(b, http.StatusOK, w.Code, w.Body)
			require.NoError(b, err)
			assert.Equal(b, []string{"info", "mod", "zip"}, athenstest.Held(b, b.store, athenstest.Example))
		} else {
			assert.Equal(b, http.StatusBadGateway, w.Code)
			require.ErrorAs(b, err, new(*athens.ConflictError))
		}
		w, _ = athenstest.Ask(b.Context(), b, athenstest.InfoPath)
		assert.JSONEq(b, held, w.Body.String(), "what was stored first stays")
	})
}

// An .info is passed on and kept as the upstream sent it.
func TestInfoStaysAsItCame(t *testing.T) {
	v := modtest.NewVersion(t, "example.com/m", "v1.0.0", map[string]string{"go.mod": "module example.com/m\n"})
	v.Info = []byte("{\n \"Later\": [1, 2],\n \"Version\": \"v1.0.0\", \"Time\": \"2024-01-02T03:04:05.000+02:00\"\n}\n")
	open := make(chan struct{})
	close(open)
	proxy, store := fetchThrough(t, slowUpstream(t, v, v.Zip, open), noMiddleware)
	get := func(path string) {
		resp, err := http.Get(proxy.URL + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, string(v.Info), string(body), path)
	}
	get(athenstest.QueryPath)
	get(athenstest.InfoPath)
	require.Eventually(t, func() bool {
		obj, err := store.Open(t.Context(), v.Version, athens.InfoFile)
		if err != nil {
			return false
		}
		defer obj.Body.Close()
		b, err := io.ReadAll(obj.Body)
		return err == nil && string(b) == string(v.Info)
	}, time.Minute, time.Millisecond)
	get(athenstest.InfoPath)
}
