// Package gitconfig reads the parts of git's configuration that concern servers: URL
// rewriting, and the HTTP headers and the proxy of a URL.
//
// It reads the files that git reads outside a repository, and the
// environment. It follows include directives without a condition;
// includeIf depends on a repository, and there is none.
//
// See git-config(1).
package gitconfig

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/athens-go/athens/internal/homefile"
)

// Bounds of a configuration. A longer file is treated as absent; more files are an
// error.
const (
	MaxSize    = 1 << 20 // bytes of a file
	MaxFiles   = 100     // read in all
	MaxDepth   = 10      // of files that include others
	MaxEnvVars = 1000    // GIT_CONFIG_COUNT
)

// Config is a whole configuration, in the order in which git reads it. Its zero
// value has no variables.
type Config struct {
	vars  []Variable
	home  string
	files int
	warn  homefile.Warn
}

// Load reads the configuration of the system, of the user and of the
// environment, whose variables getenv returns: GIT_CONFIG_SYSTEM,
// GIT_CONFIG_NOSYSTEM, GIT_CONFIG_GLOBAL, XDG_CONFIG_HOME, HOME,
// GIT_CONFIG_COUNT and the GIT_CONFIG_KEY_n and GIT_CONFIG_VALUE_n it counts.
// Missing files count as empty. So do files that can't be read, which are
// reported to warn.
func Load(getenv func(string) string, warn homefile.Warn) (*Config, error) {
	c := &Config{home: getenv("HOME"), warn: warn}
	if !isTrue(getenv("GIT_CONFIG_NOSYSTEM")) {
		name := getenv("GIT_CONFIG_SYSTEM")
		if name == "" {
			name = "/etc/gitconfig"
		}
		if err := c.read(name, 0); err != nil {
			return nil, err
		}
	}
	for _, name := range userFiles(getenv) {
		if err := c.read(name, 0); err != nil {
			return nil, err
		}
	}
	return c, c.readEnv(getenv)
}

// LoadFile reads one file, which must exist, and the files that it includes. Included
// files that can't be read are reported to warn.
func LoadFile(name string, warn homefile.Warn) (*Config, error) {
	if _, err := homefile.Read(name, MaxSize); err != nil {
		return nil, err
	}
	c := &Config{home: os.Getenv("HOME"), warn: warn}
	return c, c.read(name, 0)
}

// userFiles are the files of the user, in order.
func userFiles(getenv func(string) string) []string {
	if name := getenv("GIT_CONFIG_GLOBAL"); name != "" {
		return []string{name}
	}
	home, xdg := getenv("HOME"), getenv("XDG_CONFIG_HOME")
	if xdg == "" && home != "" {
		xdg = filepath.Join(home, ".config")
	}
	var names []string
	if xdg != "" {
		names = append(names, filepath.Join(xdg, "git", "config"))
	}
	if home != "" {
		names = append(names, filepath.Join(home, ".gitconfig"))
	}
	return names
}

func isTrue(value string) bool {
	switch strings.ToLower(value) {
	case "", "false", "no", "off", "0":
		return false
	}
	return true
}

// read adds a file's variables and, at the position of each include, those of the
// included file.
func (c *Config) read(name string, depth int) error {
	if c.files++; c.files > MaxFiles || depth > MaxDepth {
		return fmt.Errorf("%s: more than %d files, or more than %d that include each other", name, MaxFiles, MaxDepth)
	}
	text := string(homefile.Optional(name, MaxSize, c.warn))
	vars, err := Parse(text)
	if err != nil && !utf8.ValidString(text) {
		c.warn.Report(name, fmt.Errorf("it is not UTF-8: %w", err))
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for _, v := range vars {
		if err := c.add(v, filepath.Dir(name), depth); err != nil {
			return err
		}
	}
	return nil
}

// add adds a variable of a file in dir; an empty dir is the environment.
func (c *Config) add(v Variable, dir string, depth int) error {
	c.vars = append(c.vars, v)
	if v.Section != "include" || v.Subsection != "" || v.Name != "path" || v.Value == "" {
		return nil
	}
	name := v.Value
	switch rest, home := strings.CutPrefix(name, "~/"); {
	case home && c.home != "":
		name = filepath.Join(c.home, rest)
	case home, strings.HasPrefix(name, "~"):
		return fmt.Errorf("include.path: unknown home folder in %q", v.Value)
	case !filepath.IsAbs(name) && dir == "":
		return fmt.Errorf("include.path: %q from the environment is not absolute", v.Value)
	case !filepath.IsAbs(name):
		name = filepath.Join(dir, name)
	}
	return c.read(name, depth+1)
}

// readEnv adds the variables of the environment.
func (c *Config) readEnv(getenv func(string) string) error {
	count := getenv("GIT_CONFIG_COUNT")
	if count == "" {
		return nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > MaxEnvVars {
		return fmt.Errorf("GIT_CONFIG_COUNT: %q is not a number from 0 to %d", count, MaxEnvVars)
	}
	for i := range n {
		name := "GIT_CONFIG_KEY_" + strconv.Itoa(i)
		v, err := parseKey(getenv(name))
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		v.Value = getenv("GIT_CONFIG_VALUE_" + strconv.Itoa(i))
		if err := c.add(v, "", 0); err != nil {
			return err
		}
	}
	return nil
}
