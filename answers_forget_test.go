package athens_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/storage"
)

// TestForget has a source asked again after Forget, once, and also if a question to it began
// before Forget and was answered afterwards.
func TestForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := athenstest.NewSource(t, "vcs")
		source.Add(module.Version{Path: "a.test/m", Version: "v1.0.0"})
		h, err := athens.NewHandler(storage.NewMemory(), &athens.Options{Fetcher: source, Private: "none", ListTTL: time.Hour})
		require.NoError(t, err)
		defer func() { assert.NoError(t, h.Shutdown(context.Background())) }()
		const list = "/a.test/m/@v/list"
		asked := func() int {
			athenstest.Ask(t.Context(), h, list)
			return strings.Count(strings.Join(source.Take(), "\n"), "list")
		}
		for _, path := range []string{"a.test/m", ""} {
			asked()
			assert.Zero(t, asked())
			time.Sleep(time.Second) // of the bubble
			h.Forget("b.test/m")
			assert.Zero(t, asked())
			h.Forget(path)
			time.Sleep(time.Second)
			assert.Equal(t, 1, asked())
			assert.Zero(t, asked())
		}
		h.Forget("")
		open := source.Gate("list")
		go asked()
		synctest.Wait()
		time.Sleep(time.Second)
		h.Forget("a.test/m")
		time.Sleep(time.Second)
		open()
		synctest.Wait()
		assert.Equal(t, 1, asked())
		assert.Zero(t, asked())
	})
}
