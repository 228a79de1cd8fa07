package pattern

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Private is the value of an option called Private: it matches the module paths that are
// private. It does not change.
type Private struct {
	globs []string
	set   Set
}

// ParsePrivate reads the value of an option called Private: a list as in GOPRIVATE, of
// which nothing means that of the [Environment], and "none" that no path is private.
func ParsePrivate(list string) (*Private, error) {
	if list == "" {
		var err error
		if list, err = Environment(); err != nil {
			return nil, err
		}
	}
	globs, err := Parse(list)
	if err != nil {
		return nil, err
	}
	p := &Private{globs: globs}
	p.set.Add(0, globs)
	return p, nil
}

// Match reports whether a module path is covered by one of the patterns.
func (p *Private) Match(path string) bool { return p.set.Last(path) > None }

// String returns the patterns as a list for GOPRIVATE or GONOSUMDB, each once.
func (p *Private) String() string { return Join(p.globs) }

// Join returns a list of patterns, each once.
func Join(globs []string) string {
	var once []string
	seen := make(map[string]bool)
	for _, g := range globs {
		if !seen[g] {
			seen[g] = true
			once = append(once, g)
		}
	}
	return strings.Join(once, ",")
}

// Environment returns the patterns of GOPRIVATE and GONOPROXY: those of the process's
// environment, or, for a variable that is not set there, those that "go env -w" has
// written. It does not need a go command. A value of "none" is no pattern.
func Environment() (string, error) {
	file := sync.OnceValue(goEnvFile)
	var all []string
	for _, name := range []string{"GOPRIVATE", "GONOPROXY"} {
		value := os.Getenv(name)
		if value == "" {
			value = file()[name]
		}
		globs, err := Parse(value)
		if err != nil {
			return "", fmt.Errorf("%s of the environment: %w", name, err)
		}
		all = append(all, globs...)
	}
	return Join(all), nil
}

// goEnvFile reads the go command's configuration file (see "go help env"). One
// that can't be read has nothing, as for the go command.
func goEnvFile() map[string]string {
	name := os.Getenv("GOENV")
	if name == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return nil
		}
		name = filepath.Join(dir, "go", "env")
	}
	if name == "off" {
		return nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil
	}
	vars := make(map[string]string)
	for line := range strings.Lines(string(data)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			vars[name] = value
		}
	}
	return vars
}
