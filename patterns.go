package athens

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/athens-go/athens/internal/pattern"
)

// Patterns is a list of module path patterns with the syntax of GOPRIVATE. It
// matches a path in every spelling: upper or lower case, escapes, a port or a dot
// behind the host, endings such as ".git" and ".v2". A nil *Patterns matches
// nothing, as the zero Patterns does. It does not change.
type Patterns struct {
	list []string
	set  pattern.Set
}

// ParsePatterns reads a list as in GOPRIVATE: glob patterns of path prefixes,
// separated by commas. The error names the first pattern that is malformed.
func ParsePatterns(list string) (*Patterns, error) {
	globs, err := pattern.Parse(list)
	if err != nil {
		return nil, fmt.Errorf("athens: %w", err)
	}
	p := &Patterns{list: globs}
	p.set.Add(0, globs)
	return p, nil
}

// EnvPatterns returns the patterns of GOPRIVATE and GONOPROXY: those of the
// process's environment, or, for a variable that is not set there, those that
// "go env -w" has written. It does not need a go command. A value of "none"
// is no pattern.
func EnvPatterns() (*Patterns, error) {
	file := sync.OnceValue(goEnvFile)
	var lists []string
	for _, name := range []string{"GOPRIVATE", "GONOPROXY"} {
		value := os.Getenv(name)
		if value == "" {
			value = file()[name]
		}
		if value != "none" {
			lists = append(lists, value)
		}
	}
	p, err := ParsePatterns(strings.Join(lists, ","))
	if err != nil {
		return nil, fmt.Errorf("GOPRIVATE or GONOPROXY of the environment: %w", err)
	}
	return p, nil
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

// Match reports whether a module path is covered by one of the patterns.
func (p *Patterns) Match(path string) bool {
	return p != nil && p.set.Last(path) > pattern.None
}

// String returns the patterns as a list for GOPRIVATE or GONOSUMDB, each once.
func (p *Patterns) String() string {
	if p == nil {
		return ""
	}
	var once []string
	seen := make(map[string]bool)
	for _, g := range p.list {
		if !seen[g] {
			seen[g] = true
			once = append(once, g)
		}
	}
	return strings.Join(once, ",")
}

// privateKey is the context key of WithPrivate.
type privateKey struct{}

// WithPrivate returns a context that says whether the module path that a
// [Fetcher] is asked for is private. A handler calls its Fetcher and Upstream
// with such a context.
func WithPrivate(ctx context.Context, private bool) context.Context {
	return context.WithValue(ctx, privateKey{}, private)
}

// IsPrivate returns what [WithPrivate] said. It is not known outside of a
// handler's work: a Fetcher then decides by options of its own.
func IsPrivate(ctx context.Context) (private, known bool) {
	private, known = ctx.Value(privateKey{}).(bool)
	return private, known
}
