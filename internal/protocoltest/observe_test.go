package protocoltest_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// observed collects events.
type observed struct {
	mu     sync.Mutex
	events []athens.Event
}

func (o *observed) add(e athens.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.events = append(o.events, e)
}

// take returns what has been observed since the last call, as "op outcome source".
func (o *observed) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, e := range o.events {
		all = append(all, strings.TrimSpace(e.Op+" "+e.Outcome+" "+e.Source))
	}
	o.events = nil
	return all
}

// observedRegistry is a registry of example.com/m, whose log and events are kept.
func observedRegistry(t *testing.T, change func(*athens.Options)) (*athens.Handler, *observed, *bytes.Buffer) {
	source := athenstest.NewSource(t, "vcs")
	source.Add(athenstest.Example)
	var (
		o   observed
		log bytes.Buffer
	)
	opts := &athens.Options{Fetcher: source, Observe: o.add, Logger: slog.New(slog.NewTextHandler(&log, nil))}
	if change != nil {
		change(opts)
	}
	h, err := athens.NewHandler(athenstest.NewStore(t), opts)
	require.NoError(t, err)
	return h, &o, &log
}

// There is one event for each request, fetch, store write and fill.
func TestObserve(t *testing.T) {
	h, o, _ := observedRegistry(t, nil)
	w, _ := athenstest.Ask(t.Context(), h, "/example.com/m/@v/v1.0.0.zip")
	require.Equal(t, http.StatusOK, w.Code, w.Body)
	require.NoError(t, h.Shutdown(t.Context()))
	assert.ElementsMatch(t, []string{
		"info done vcs", "mod done vcs", "put done store", "zip done vcs", "commit done store", "request fetch vcs",
	}, o.take())
	w, _ = athenstest.Ask(t.Context(), h, "/example.com/m/@v/v1.0.0.mod")
	require.Equal(t, http.StatusOK, w.Code)
	assert.Equal(t, []string{"request held store"}, o.take())
	require.NoError(t, h.Fill(t.Context(), athens.Fill{Module: module.Version{Path: "example.com/m", Version: "v1.0.0"}, Zip: true}))
	assert.Equal(t, []string{"fill done"}, o.take())
}

func TestObserveTellsOfAnswers(t *testing.T) {
	h, o, _ := observedRegistry(t, nil)
	w, _ := athenstest.Ask(t.Context(), h, "/example.com/m/@v/v1.9.9.info")
	require.Equal(t, http.StatusNotFound, w.Code)
	require.NotEmpty(t, o.events)
	e := o.events[len(o.events)-1]
	assert.Equal(t, athens.OpRequest, e.Op)
	assert.Equal(t, module.Version{Path: "example.com/m", Version: "v1.9.9"}, e.Module)
	assert.Equal(t, "info", e.File)
	assert.Equal(t, athens.OutcomeMissing, e.Outcome)
	assert.Equal(t, http.StatusNotFound, e.Status)
	assert.EqualValues(t, w.Body.Len(), e.Bytes)
	assert.NotNil(t, e.Request)
	assert.ErrorAs(t, e.Err, new(*athens.MissingError))
	require.NoError(t, h.Shutdown(t.Context()))
}

// An answer from memory is not counted as one that the source gave.
func TestAnswersFromMemoryAreLoggedAsSuch(t *testing.T) {
	h, o, log := observedRegistry(t, nil)
	for _, path := range []string{"/example.com/m/@v/list", "/example.com/m/@latest", "/example.com/m/@v/master.info"} {
		w, _ := athenstest.Ask(t.Context(), h, path)
		first := o.take()
		assert.Equal(t, 2, len(first), path)
		log.Reset()
		again, _ := athenstest.Ask(t.Context(), h, path)
		assert.Equal(t, w.Code, again.Code, path)
		if w.Code == http.StatusOK {
			assert.Equal(t, []string{"request remembered memory"}, o.take(), path)
			assert.Contains(t, log.String(), "outcome=remembered source=memory", path)
		} else {
			assert.Equal(t, []string{"request missing memory"}, o.take(), path)
			assert.Equal(t, w.Body.String(), again.Body.String(), path)
		}
	}
	require.NoError(t, h.Shutdown(t.Context()))
}

// A client that has to log in is told how.
func TestUnauthorizedHasAChallenge(t *testing.T) {
	h, o, _ := observedRegistry(t, func(opts *athens.Options) {
		opts.Allow = func(r *http.Request, _ module.Version) error {
			if _, _, ok := r.BasicAuth(); !ok {
				return &athens.RefusedError{Status: http.StatusUnauthorized, Challenge: `Basic realm="modules"`, Reason: "log in with your token"}
			}
			return nil
		}
	})
	w, _ := athenstest.Ask(t.Context(), h, "/example.com/m/@v/list")
	assert.Equal(t, http.StatusUnauthorized, w.Code)
	assert.Equal(t, `Basic realm="modules"`, w.Header().Get("WWW-Authenticate"))
	assert.Contains(t, w.Body.String(), "log in with your token")
	assert.Equal(t, []string{"request unauthorized"}, o.take())
	require.NoError(t, h.Shutdown(t.Context()))
}
