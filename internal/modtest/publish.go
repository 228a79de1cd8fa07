package modtest

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// This file writes a repository's files as git itself does: tests would spend most of
// their time on starting a process for each of these steps.

// gitConfig is what "git init" writes into a repository's config on this machine.
var gitConfig = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "modtest-init-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("git", "init", "-q", "--template=", dir)
	cmd.Env = gitEnv(dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("git init: %w: %s", err, out)
	}
	config, err := os.ReadFile(filepath.Join(dir, ".git", "config"))
	return string(config), err
})

// place says where the two repositories are.
func (r *Repo) place(root string) {
	r.work, r.bare, r.home = filepath.Join(root, "work"), filepath.Join(root, "bare.git"), filepath.Join(root, "home")
}

// create makes the two empty repositories.
func (r *Repo) create() error {
	r.head = "main"
	config, err := gitConfig()
	if err != nil {
		return err
	}
	// What large hosts allow: any commit by its hash, and partial clones.
	served := strings.Replace(config, "bare = false", "bare = true", 1) +
		"[uploadpack]\n\tallowAnySHA1InWant = true\n\tallowFilter = true\n"
	for dir, config := range map[string]string{filepath.Join(r.work, ".git"): config, r.bare: served} {
		for _, sub := range []string{"objects", filepath.Join("refs", "heads"), filepath.Join("refs", "tags")} {
			if err := os.MkdirAll(filepath.Join(dir, sub), 0o777); err != nil {
				return err
			}
		}
		for name, content := range map[string]string{"HEAD": "ref: refs/heads/main\n", "config": config} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o666); err != nil {
				return err
			}
		}
	}
	return nil
}

// publish makes the changes of the script visible to clients at once: it adds all objects
// first, and then replaces the references, which are in one file.
func (r *Repo) publish() error {
	git := filepath.Join(r.work, ".git")
	if err := linkFiles(filepath.Join(git, "objects"), filepath.Join(r.bare, "objects")); err != nil {
		return err
	}
	refs, err := readRefs(git)
	if err != nil {
		return err
	}
	var packed strings.Builder
	packed.WriteString("# pack-refs with: sorted \n")
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		fmt.Fprintf(&packed, "%s %s\n", refs[name], name)
	}
	if err := replaceFile(filepath.Join(r.bare, "packed-refs"), packed.String()); err != nil {
		return err
	}
	// A test may have written references of its own, which a push would replace.
	for _, dir := range []string{"heads", "tags"} {
		own := filepath.Join(r.bare, "refs", dir)
		if err := errors.Join(os.RemoveAll(own), os.Mkdir(own, 0o777)); err != nil {
			return err
		}
	}
	return replaceFile(filepath.Join(r.bare, "HEAD"), "ref: refs/heads/"+r.head+"\n")
}

// linkFiles links each file below from to the same name below to; the files never change.
func linkFiles(from, to string) error {
	return filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		if d.IsDir() {
			return os.MkdirAll(target, 0o777)
		}
		if err := os.Link(file, target); !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

// replaceFile writes a file that may be read at the same time.
func replaceFile(file, content string) error {
	if err := os.WriteFile(file+".new", []byte(content), 0o666); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// readRefs returns the hash of each reference of a repository; symbolic ones are left
// out.
func readRefs(git string) (map[string]string, error) {
	refs := make(map[string]string)
	packed, err := os.ReadFile(filepath.Join(git, "packed-refs"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(packed)) {
		if hash, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && hash != "#" {
			refs[name] = hash
		}
	}
	return refs, filepath.WalkDir(filepath.Join(git, "refs"), func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(git, file)
		if err != nil {
			return err
		}
		hash, err := os.ReadFile(file)
		if err == nil && !strings.HasPrefix(string(hash), "ref:") {
			refs[filepath.ToSlash(name)] = strings.TrimSpace(string(hash))
		}
		return err
	})
}

// plainName matches names of tags that git accepts for certain.
var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9+_-]*([./][A-Za-z0-9+_-]+)*$`)

// tagHead makes a lightweight tag of the work tree's commit.
func (r *Repo) tagHead(name string) error {
	git := filepath.Join(r.work, ".git")
	head, err := os.ReadFile(filepath.Join(git, "HEAD"))
	if err != nil {
		return err
	}
	hash := strings.TrimSpace(string(head))
	if branch, ok := strings.CutPrefix(hash, "ref: "); ok {
		refs, err := readRefs(git)
		if err != nil {
			return err
		}
		if hash, ok = refs[branch]; !ok {
			return fmt.Errorf("%s has no commit to tag", branch)
		}
	}
	file := filepath.Join(git, "refs", "tags", filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o777); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(hash+"\n"), 0o666)
}
