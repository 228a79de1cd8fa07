package warm_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/fill/warm"
)

// project writes files to a folder.
func project(t testing.TB, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(name), 0o755))
		require.NoError(t, os.WriteFile(name, []byte(text), 0o644))
	}
	return dir
}

func TestPlanRefuses(t *testing.T) {
	dir := project(t, map[string]string{"go.sum": "a b\n", "a.sum": "a.test/x v1 h1:x\n", "go.mod": "module p.test\nrequire a.test/x main\n", "list": "a.test/x v1 v2\n", "d/x": "", "go.work": "go 1.20\nuse ./nowhere\n",
		"two.sum": "a.test/x v1.0.0 h1:x\na.test/x v1.0.0 h1:y\n"})
	for name, want := range map[string]string{
		"go.sum": "go.sum:1: a line", "a.sum": "not a canonical version", "go.mod": "version \"main\" invalid", "list": "list:1: want", "d": "neither", "go.work": "nowhere", "none": "no such file", "two.sum": "two hashes",
	} {
		assert.ErrorContains(t, warm.NewPlan().Add(filepath.Join(dir, name)), want)
	}
	require.Error(t, warm.NewPlan().AddVersion(module.Version{Path: "a.test/x", Version: "v1"}))
	require.Error(t, warm.NewPlan().AddAllVersions("../x"))
}
