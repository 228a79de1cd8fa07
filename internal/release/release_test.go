package release_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const root = "../.." // of the repository

// nested are the modules that users import beside the root.
var nested = []string{"backends/blob", "backends/nats", "backends/oidc", "backends/otel"}

// clone is a scratch repository with the files of this work tree, on its branch main.
type clone struct {
	t   *testing.T
	dir string
	env []string
}

func newClone(t *testing.T) *clone {
	t.Helper()
	c := &clone{t: t, dir: filepath.Join(t.TempDir(), "athens")}
	c.env = append(os.Environ(),
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+os.DevNull, "GOFLAGS=-buildvcs=false", "GOWORK=",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@corp.test", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@corp.test")
	require.NoError(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		to := filepath.Join(c.dir, rel)
		switch {
		case d.Name() == ".git":
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case d.IsDir():
			return os.MkdirAll(to, 0o777)
		case !d.Type().IsRegular():
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return os.WriteFile(to, content, info.Mode().Perm())
	}))
	c.git("init", "-q", "-b", "main")
	c.git("config", "gc.auto", "0")
	c.commit()
	return c
}

// run runs a program in the clone.
func (c *clone) run(name string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), name, args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *clone) git(args ...string) string {
	c.t.Helper()
	out, err := c.run("git", args...)
	require.NoError(c.t, err, "git %v: %s", args, out)
	return strings.TrimSpace(out)
}

func (c *clone) commit() {
	c.t.Helper()
	c.git("add", "-A")
	c.git("commit", "-q", "--allow-empty", "-m", "all of it")
}

func (c *clone) read(name string) string {
	c.t.Helper()
	content, err := os.ReadFile(filepath.Join(c.dir, filepath.FromSlash(name)))
	require.NoError(c.t, err)
	return string(content)
}

func (c *clone) write(name, content string) {
	c.t.Helper()
	require.NoError(c.t, os.WriteFile(filepath.Join(c.dir, filepath.FromSlash(name)), []byte(content), 0o666))
}

// next returns the version that the changelog prepares. Right after a release there is
// none: then a section is added.
func (c *clone) next() string {
	c.t.Helper()
	changelog := c.read("CHANGELOG.md")
	if found := regexp.MustCompile(`(?m)^## (v\S+) \(unreleased\)$`).FindStringSubmatch(changelog); found != nil {
		return found[1]
	}
	const version = "v0.999.0"
	before, after, _ := strings.Cut(changelog, "\n## ")
	c.write("CHANGELOG.md", before+"\n## "+version+" (unreleased)\n\nA rehearsal.\n\n## "+after)
	c.commit()
	return version
}

// released returns a clone in which the script has released a version.
func released(t *testing.T) (*clone, string) {
	t.Helper()
	c := newClone(t)
	version := c.next()
	out, err := c.run(".ci/release", version)
	require.NoError(t, err, out)
	return c, version
}

// TestReleaseScript releases a version in a clone: first dry, then in earnest.
func TestReleaseScript(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	version := c.next()
	before := c.git("rev-parse", "HEAD")

	out, err := c.run(".ci/release", "-n", version)
	require.NoError(t, err, out)
	assert.Contains(t, out, "+## "+version+" (20")
	assert.Contains(t, out, "dry run")
	assert.Equal(t, before, c.git("rev-parse", "HEAD"))
	assert.Empty(t, c.git("tag")+c.git("status", "--porcelain"))

	out, err = c.run(".ci/release", version)
	require.NoError(t, err, out)
	assert.Equal(t, before, c.git("rev-parse", "HEAD^"), "one commit")
	assert.Equal(t, "main", c.git("branch", "--show-current"))
	assert.Empty(t, c.git("status", "--porcelain"))
	assert.Len(t, strings.Fields(c.git("worktree", "list")), 3, "the scratch work tree is gone")
	tags := []string{version}
	for _, dir := range nested {
		tags = append(tags, dir+"/"+version)
		assert.Regexp(t, `(?m)^\s+github\.com/athens-go/athens `+regexp.QuoteMeta(version)+`$`, c.read(dir+"/go.mod"))
	}
	assert.ElementsMatch(t, tags, strings.Fields(c.git("tag")))
	for _, tag := range tags {
		assert.Equal(t, c.git("rev-parse", "HEAD"), c.git("rev-parse", tag+"^{commit}"))
		assert.Contains(t, out, " "+tag, "what to push")
	}
	assert.NotContains(t, c.read("CHANGELOG.md"), "## "+version+" (unreleased)")

	// The released commit builds without the workspace, as CI does it.
	for _, dir := range append([]string{".", "examples/cluster"}, nested...) {
		c.env = append(c.env, "GOWORK=off")
		out, err := c.run("go", "-C", dir, "mod", "tidy", "-diff")
		assert.NoError(t, err, "%s: %s", dir, out)
	}
}

// TestReleaseScriptRefuses has each reason why nothing is released.
func TestReleaseScriptRefuses(t *testing.T) {
	t.Parallel()
	c := newClone(t)
	version := c.next()
	before := c.git("rev-parse", "HEAD")
	for _, test := range []struct {
		args, want string
		prepare    func() (undo func())
	}{
		{"", "usage", nil},
		{version + " extra", "usage", nil},
		{"0.1.0", "is not a version", nil},
		{"v0.1", "is not a version", nil},
		{"v0.01.0", "is not a version", nil},
		{"v0.1.0-rc.1", "is not a version", nil},
		{"v2.0.0", "is not a version", nil}, // its module path would have to end in /v2
		{"v1.998.0", "CHANGELOG.md has no section", nil},
		{version, "uncommitted changes", func() func() {
			c.write("new.txt", "not committed")
			return func() { require.NoError(t, os.Remove(filepath.Join(c.dir, "new.txt"))) }
		}},
		{version, "no branch is checked out", func() func() {
			c.git("checkout", "-q", "--detach")
			return func() { c.git("checkout", "-q", "main") }
		}},
		{version, "the tag backends/nats/" + version + " exists", func() func() {
			c.git("tag", "backends/nats/"+version)
			return func() { c.git("tag", "-d", "backends/nats/"+version) }
		}},
		{version, "is older than v1.999.0", func() func() {
			c.git("tag", "v1.999.0")
			return func() { c.git("tag", "-d", "v1.999.0") }
		}},
	} {
		undo := func() {}
		if test.prepare != nil {
			undo = test.prepare()
		}
		tags := c.git("tag")
		out, err := c.run(".ci/release", strings.Fields(test.args)...)
		assert.Error(t, err, test.args)
		assert.Contains(t, out, test.want, test.args)
		assert.Equal(t, tags, c.git("tag"), test.args)
		undo()
	}
	assert.Equal(t, before, c.git("rev-parse", "HEAD"))
}
