package gocmd

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/athens-go/athens"
)

// none is the value of GOPRIVATE and similar variables that matches no path.
const none = "none"

// dropped are variables of this process that a command must not see: they point to
// another Go or, if this process was started from a git hook, to another
// repository.
var dropped = []string{
	"GOROOT", "GOBIN", "GOEXPERIMENT", "GOMODCACHE", "GONOSUMCHECK", "GOTOOLDIR", "PWD",
	"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY",
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_NAMESPACE", "GIT_PREFIX", "GIT_SHALLOW_FILE", "GIT_GRAFT_FILE",
}

// environ returns the environment that all commands share: this
// process's own, so that the tools find home, netrc, ssh agent and proxies; the
// variables from the options; and those that this package sets.
func environ(o *Options) []string {
	env := make(map[string]string)
	var names []string
	set := func(name, value string) {
		if _, ok := env[name]; !ok {
			names = append(names, name)
		}
		env[name] = value
	}
	for _, e := range slices.Concat(os.Environ(), o.Env) {
		name, value, ok := strings.Cut(e, "=")
		if ok && name != "" && !slices.Contains(dropped, name) {
			set(name, value)
		}
	}
	// English messages, but the user's encoding of file names: with
	// LC_ALL=C, svn could not check out names that are not ASCII.
	ctype := cmp.Or(env["LC_ALL"], env["LC_CTYPE"], env["LANG"], "C.UTF-8")
	for _, e := range [][2]string{
		{"LC_ALL", ""}, {"LANGUAGE", ""}, {"LC_MESSAGES", "C"}, {"LC_CTYPE", ctype},
		{"GO111MODULE", "on"}, {"GOENV", "off"}, {"GOFLAGS", "-mod=mod -modcacherw"}, {"GOWORK", "off"}, {"GOTOOLCHAIN", "local"},
		{"GOPROXY", "direct"}, {"GONOPROXY", none}, {"GOSUMDB", "off"}, {"GONOSUMDB", none},
		{"GOVCS", cmp.Or(o.GOVCS, env["GOVCS"])},
	} {
		set(e[0], e[1])
	}
	var list []string
	for _, name := range names {
		list = append(list, name+"="+env[name])
	}
	return list
}

// goprivateVar returns the GOPRIVATE that makes the go command treat the requested path
// as private or not. It affects only GOVCS.
func goprivateVar(ctx context.Context) string {
	if private := athens.RequestInfoFrom(ctx).Private; private != nil && *private {
		return "GOPRIVATE=*"
	}
	return "GOPRIVATE="
}

// tempEnv adds the variables that make a command keep all its files in dir.
func tempEnv(env []string, dir string) []string {
	tmp := filepath.Join(dir, "tmp")
	return append(slices.Clip(env),
		"PWD="+filepath.Join(dir, "work"), "GOPATH="+filepath.Join(dir, "gopath"), "GOMODCACHE="+filepath.Join(dir, "modcache"),
		"GOCACHE="+filepath.Join(dir, "gocache"), "GOTMPDIR="+tmp, "TMPDIR="+tmp, "TMP="+tmp, "TEMP="+tmp)
}

// hasTool reports whether a program is in the PATH of that environment.
func hasTool(env []string, name string) bool {
	var path string
	for _, e := range env {
		if v, ok := strings.CutPrefix(e, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		for _, suffix := range []string{"", ".exe"} {
			if info, err := os.Stat(filepath.Join(dir, name+suffix)); err == nil && !info.IsDir() {
				return true
			}
		}
	}
	return false
}
