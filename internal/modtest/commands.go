package modtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// run executes a script, then publishes the result.
func (r *Repo) run(s *script) error {
	used := map[string]bool{}
	for _, line := range s.lines {
		if line.words[0] == "files" && len(line.words) == 2 {
			used[line.words[1]] = true
		}
		if err := r.do(s, line.words[0], line.words[1:]); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", s.name, line.number, line.words[0], err)
		}
	}
	for _, f := range s.files {
		if label, _, _ := strings.Cut(f.Name, "/"); !used[label] {
			return fmt.Errorf("%s: no files command uses %s", s.name, f.Name)
		}
	}
	return r.publish()
}

var errUsage = errors.New("wrong number of words")

// do executes one command.
func (r *Repo) do(s *script, command string, args []string) error {
	need := map[string]int{
		"repo": 1, "import": 1, "offer": 1, "head": 1, "config": 2, "files": 1, "write": 2, "symlink": 2,
		"chmod": 2, "rm": 1, "authored": 1, "commit": 2, "tag": 1, "branch": 1, "checkout": 1, "merge": 3, "git": 1,
	}
	least, known := need[command]
	if !known {
		return errors.New("unknown command")
	}
	if len(args) < least {
		return errUsage
	}
	switch command {
	case "repo", "import", "offer", "head":
		r.declare(command, args)
		return nil
	case "files", "write", "symlink", "chmod", "rm":
		return r.change(s, command, args)
	case "authored":
		return setDate(&r.authored, args[0])
	case "commit", "merge", "tag":
		return r.record(command, args)
	case "config":
		_, err := r.git(r.bare, "config", args[0], args[1])
		return err
	case "branch":
		_, err := r.git(r.work, append([]string{"branch", "-f"}, args...)...)
		return err
	case "checkout":
		_, err := r.git(r.work, "checkout", "-q", args[0])
		return err
	}
	_, err := r.git(r.work, args...)
	return err
}

// declare executes what says something of the repository.
func (r *Repo) declare(command string, args []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch command {
	case "repo":
		r.Path = args[0]
	case "offer":
		r.Offers = append(r.Offers, args...)
	case "head":
		r.head = args[0]
	case "import":
		if args[0] == "none" {
			r.silent = true
			return
		}
		i := goImport{prefix: args[0]}
		if len(args) > 1 {
			i.subdir = args[1]
		}
		r.declared = append(r.declared, i)
	}
}

// change executes what changes the work tree.
func (r *Repo) change(s *script, command string, args []string) error {
	if command == "files" {
		return r.extract(s, args[0])
	}
	files := args
	switch command {
	case "write":
		files = args[:1]
	case "symlink", "chmod":
		files = args[1:]
	}
	for _, name := range files {
		if !filepath.IsLocal(name) {
			return fmt.Errorf("%q leaves the work tree", name)
		}
	}
	switch command {
	case "write":
		return r.write(args[0], []byte(args[1]))
	case "symlink":
		file := filepath.Join(r.work, args[1])
		if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
			return err
		}
		return os.Symlink(args[0], file)
	case "chmod":
		for _, name := range args[1:] {
			mode := fs.FileMode(0o644)
			if args[0] == "+x" {
				mode = 0o755
			}
			if err := os.Chmod(filepath.Join(r.work, name), mode); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range args {
		if err := os.RemoveAll(filepath.Join(r.work, name)); err != nil {
			return err
		}
	}
	return nil
}

// extract writes the archive's files of one label.
func (r *Repo) extract(s *script, label string) error {
	found := false
	for _, f := range s.files {
		name, ok := strings.CutPrefix(f.Name, label+"/")
		if !ok {
			continue
		}
		found = true
		if err := r.write(name, []byte(f.Content)); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("the archive has no file below %s/", label)
	}
	return nil
}

func (r *Repo) write(name string, content []byte) error {
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%q leaves the work tree", name)
	}
	file := filepath.Join(r.work, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o666)
}

// record executes what makes a commit or a tag.
func (r *Repo) record(command string, args []string) error {
	if command == "tag" && len(args) == 1 && plainName.MatchString(args[0]) {
		return r.tagHead(args[0])
	}
	if command == "tag" && args[0] != "-a" {
		_, err := r.git(r.work, append([]string{"tag", "-f"}, args...)...)
		return err
	}
	if command == "tag" && len(args) < 4 {
		return errUsage
	}
	date := args[0]
	if command == "tag" {
		date = args[2]
	}
	if err := setDate(&r.date, date); err != nil {
		return err
	}
	var err error
	switch command {
	case "tag":
		_, err = r.git(r.work, "tag", "-f", "-a", "-m", strings.Join(args[3:], " "), args[1])
	case "merge":
		_, err = r.git(r.work, "merge", "-q", "--no-ff", "-m", strings.Join(args[2:], " "), args[1])
	case "commit":
		if _, err = r.git(r.work, "add", "-A", "-f", "."); err != nil {
			return err
		}
		_, err = r.git(r.work, "commit", "-q", "--allow-empty", "-m", strings.Join(args[1:], " "))
	}
	r.authored = time.Time{}
	return err
}

func setDate(into *time.Time, text string) error {
	date, err := time.Parse(time.RFC3339, text)
	if err == nil {
		*into = date
	}
	return err
}
