package vcstest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// programs are the commands that are programs of the machine's.
var programs = map[string]bool{"git": true, "hg": true, "svn": true, "svnadmin": true, "fossil": true, "bzr": true}

// builtins are the commands of the language, with the least number of words
// that each needs.
var builtins = map[string]struct {
	least int
	do    func(m *machine, args []string) error
}{
	"at": {1, func(m *machine, args []string) error {
		_, err := time.Parse(time.RFC3339, args[0])
		m.vars["GIT_COMMITTER_DATE"], m.vars["GIT_AUTHOR_DATE"] = args[0], args[0]
		return err
	}},
	"cd": {1, func(m *machine, args []string) error {
		m.dir = m.path(args[0])
		m.vars["PWD"] = m.dir
		_, err := os.Stat(m.dir)
		return err
	}},
	"chmod": {2, (*machine).chmod},
	"cmp":   {2, (*machine).compare},
	"cp":    {2, (*machine).copy},
	"echo": {0, func(m *machine, args []string) error {
		m.stdout, m.stderr = strings.Join(args, " ")+"\n", ""
		return nil
	}},
	"env": {1, func(m *machine, args []string) error {
		for _, arg := range args {
			name, value, _ := strings.Cut(arg, "=")
			m.vars[name] = value
		}
		return nil
	}},
	"handle": {1, func(m *machine, args []string) error {
		m.handler = args[0]
		return nil
	}},
	"mkdir": {1, func(m *machine, args []string) error {
		return m.each(args, func(name string) error { return os.MkdirAll(name, 0o777) })
	}},
	"replace": {3, (*machine).replace},
	"rm":      {1, func(m *machine, args []string) error { return m.each(args, os.RemoveAll) }},
	"skip": {0, func(_ *machine, args []string) error {
		return &skipError{"the script skips itself: " + strings.Join(args, " ")}
	}},
	"stdout": {1, func(m *machine, args []string) error {
		re, err := regexp.Compile("(?m)" + args[0])
		if err == nil && !re.MatchString(m.stdout) {
			err = fmt.Errorf("no match in %q", m.stdout)
		}
		return err
	}},
	"unquote": {1, func(m *machine, args []string) error {
		text, err := strconv.Unquote(`"` + args[0] + `"`)
		m.stdout, m.stderr = text, ""
		return err
	}},
}

// do executes one command.
func (m *machine) do(name string, args []string) error {
	if programs[name] {
		return m.program(name, args)
	}
	c, ok := builtins[name]
	if !ok {
		return errors.New("unknown command")
	}
	if len(args) < c.least {
		return errors.New("too few words")
	}
	return c.do(m, args)
}

func (m *machine) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(m.dir, filepath.FromSlash(name))
}

func (m *machine) each(names []string, do func(name string) error) error {
	for _, name := range names {
		if err := do(m.path(name)); err != nil {
			return err
		}
	}
	return nil
}

// read returns a file's content, or what the last command has printed.
func (m *machine) read(name string) (string, error) {
	switch name {
	case "stdout":
		return m.stdout, nil
	case "stderr":
		return m.stderr, nil
	}
	data, err := os.ReadFile(m.path(name))
	return string(data), err
}

func (m *machine) chmod(args []string) error {
	mode, err := strconv.ParseUint(args[0], 8, 32)
	if err != nil {
		return err
	}
	return m.each(args[1:], func(name string) error { return os.Chmod(name, fs.FileMode(mode)) })
}

func (m *machine) compare(args []string) error {
	got, err := m.read(args[0])
	if err != nil {
		return err
	}
	want, err := m.read(args[1])
	if err == nil && got != want {
		err = fmt.Errorf("got\n%s\nwant\n%s", got, want)
	}
	return err
}

func (m *machine) copy(args []string) error {
	to := m.path(args[len(args)-1])
	info, err := os.Stat(to)
	folder := err == nil && info.IsDir()
	for _, name := range args[:len(args)-1] {
		content, err := m.read(name)
		if err != nil {
			return err
		}
		file := to
		if folder {
			file = filepath.Join(to, filepath.Base(name))
		}
		if err := os.WriteFile(file, []byte(content), 0o666); err != nil {
			return err
		}
	}
	return nil
}

// replace replaces texts, given as the inside of Go strings, in a file.
func (m *machine) replace(args []string) error {
	file := args[len(args)-1]
	var pairs []string
	for _, arg := range args[:len(args)-1] {
		text, err := strconv.Unquote(`"` + arg + `"`)
		if err != nil {
			return err
		}
		pairs = append(pairs, text)
	}
	if len(pairs)%2 != 0 {
		return errors.New("a text without its replacement")
	}
	content, err := m.read(file)
	if err != nil {
		return err
	}
	return os.WriteFile(m.path(file), []byte(strings.NewReplacer(pairs...).Replace(content)), 0o666)
}
