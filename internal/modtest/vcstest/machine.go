package vcstest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/athens-go/athens/internal/modtest"
)

// machine executes a script of the go command's script language, as far as the
// scripts that make repositories use it: one command a line, conditions in
// brackets before it, single quotes, $VARIABLES.
type machine struct {
	root    string // of the repository; the script begins there
	home    string
	dir     string
	vars    map[string]string
	stdout  string // of the last command
	stderr  string
	handler string
}

// skipError says that a script can't be run on this machine.
type skipError struct{ reason string }

func (e *skipError) Error() string { return e.reason }

func newMachine(root, home string) *machine {
	m := &machine{root: root, home: home, dir: root, vars: map[string]string{
		"HOME": home, "USER": "gopher", "PATH": os.Getenv("PATH"), "LC_ALL": "C.UTF-8", "TZ": "America/New_York",
		"GIT_CONFIG_NOSYSTEM": "1", "HGRCPATH": filepath.Join(home, ".hgrc"), "HGENCODING": "utf-8", "PWD": root,
	}}
	if tmp, ok := os.LookupEnv("TMPDIR"); ok {
		m.vars["TMPDIR"] = tmp
	}
	return m
}

// prepare makes the folders, and configures git and hg so that the scripts come
// out alike everywhere.
func (m *machine) prepare() error {
	for _, dir := range []string{m.root, m.home} {
		if err := os.Mkdir(dir, 0o777); err != nil {
			return err
		}
	}
	git := "[user]\nname = Nobody\nemail = nobody@corp.test\n[init]\ndefaultBranch = main\n[core]\neol = lf\n[gc]\nauto = 0\n[maintenance]\nauto = false\n"
	hg := "[ui]\nusername = Nobody <nobody@corp.test>\n[phases]\nnew-commit = public\n[extensions]\nconvert =\n"
	return errors.Join(os.WriteFile(filepath.Join(m.home, ".gitconfig"), []byte(git), 0o666),
		os.WriteFile(filepath.Join(m.home, ".hgrc"), []byte(hg), 0o666))
}

// extract writes the files that come with the script.
func (m *machine) extract(files []modtest.ArchiveFile) error {
	for _, f := range files {
		if !filepath.IsLocal(f.Name) {
			return fmt.Errorf("%q leaves the folder", f.Name)
		}
		name := filepath.Join(m.root, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(f.Content), 0o666); err != nil {
			return err
		}
	}
	return nil
}

func (m *machine) environ() []string {
	var env []string
	for _, name := range slices.Sorted(maps.Keys(m.vars)) {
		env = append(env, name+"="+m.vars[name])
	}
	return env
}

// run executes a whole script.
func (m *machine) run(script string) error {
	number := 0
	for line := range strings.Lines(script) {
		number++
		words, err := m.words(line)
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
		for len(words) > 0 && strings.HasPrefix(words[0], "[") {
			condition := strings.Trim(words[0], "[]")
			words = words[1:]
			positive, negated := strings.CutPrefix(condition, "!")
			if holds(positive) == negated {
				words = nil
			}
		}
		if len(words) == 0 {
			continue
		}
		if err := m.do(words[0], words[1:]); err != nil {
			return fmt.Errorf("line %d: %q: %w", number, words, err)
		}
	}
	return nil
}

// words splits a line at blanks outside of single quotes, of which two inside
// mean one, and puts in the variables' values, outside of quotes only. A word
// that begins with "#" begins a comment.
func (m *machine) words(line string) ([]string, error) {
	var words []string
	var word, plain strings.Builder // the word so far, and its last unquoted part
	begun := false
	end := func() {
		word.WriteString(os.Expand(plain.String(), func(name string) string { return m.vars[name] }))
		plain.Reset()
	}
	line = strings.TrimRight(line, "\r\n")
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == ' ' || c == '\t':
			if end(); begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		case c == '#' && !begun:
			return words, nil
		case c == '\'':
			end()
			begun = true
			quoted, n, ok := unquote(line[i+1:])
			if !ok {
				return nil, errors.New("no closing quote")
			}
			word.WriteString(quoted)
			i += n
		default:
			begun = true
			plain.WriteByte(c)
		}
	}
	if end(); begun {
		words = append(words, word.String())
	}
	return words, nil
}

// unquote returns the text before the closing quote, and how long it was with it.
func unquote(s string) (text string, n int, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\'' {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		return b.String(), i + 1, true
	}
	return "", 0, false
}

// program runs one of the version control systems.
func (m *machine) program(name string, args []string) error {
	file, err := exec.LookPath(name)
	if err != nil {
		return &skipError{name + " is not installed"}
	}
	cmd := exec.Command(file, args...)
	var stdout, stderr bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = m.dir, m.environ(), &stdout, &stderr
	err = cmd.Run()
	m.stdout, m.stderr = stdout.String(), stderr.String()
	if err != nil {
		return fmt.Errorf("%w\n%s%s", err, m.stdout, m.stderr)
	}
	return nil
}
