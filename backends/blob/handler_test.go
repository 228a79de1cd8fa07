package blob_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// source is version control that has one version.
type source struct{ storagetest.Sample }

func (s source) Versions(context.Context, string) ([]string, error) {
	return []string{s.Module.Version}, nil
}

func (s source) Resolve(context.Context, string, string) (*athens.Info, error) { return s.info(), nil }

func (s source) Fetch(context.Context, module.Version) (athens.Content, error) {
	return content{s}, nil
}

func (s source) info() *athens.Info {
	i := *s.Sample.Info
	return &i
}

type content struct{ source }

func (c content) Info(context.Context) (*athens.Info, error) { return c.info(), nil }
func (c content) Mod(context.Context) ([]byte, error)        { return c.Sample.Mod, nil }
func (c content) Zip(_ context.Context, w io.Writer) error {
	_, err := w.Write(c.Sample.Zip)
	return err
}

// What a version costs a registry that fetches it for a client, and one beside it on
// the same bucket that serves it afterwards.
func TestRequestsOfMiss(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	src := source{sample("v1.0.0")}
	handler := func() *athens.Handler {
		h, err := athens.NewHandler(open(t, server, nil), &athens.Options{Fetcher: src, Prefetch: -1})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, h.Shutdown(context.Background())) })
		return h
	}
	first, second := handler(), handler()
	get := func(h *athens.Handler, file string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/example.com/m/@v/"+file, nil))
		require.Equal(t, http.StatusOK, w.Code, w.Body)
	}
	all := func(h *athens.Handler) func() {
		return func() { get(h, "v1.0.0.zip"); get(h, "v1.0.0.info"); get(h, "v1.0.0.mod") }
	}
	t.Log("missed:", asked(server, all(first)))
	assert.Equal(t, []string{"HEAD", "GET", "GET"}, asked(server, all(second)), "held, seen for the first time")
	assert.Equal(t, []string{"GET"}, asked(server, all(second)), "held, seen before")
}
