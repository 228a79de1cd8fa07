package modtest

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// repos are the repositories that this test process has made, by their scripts, in a
// folder that [Main] removes. No test has one of them: each gets a copy. Most scripts are
// used by many tests, and to run one takes two processes for each commit.
var repos struct {
	sync.Mutex
	made map[[sha256.Size]byte]func() (*Repo, error)
}

// madeRepo returns the repository of a script, which the process makes once.
func madeRepo(name, text string) (*Repo, error) {
	binaries.Lock()
	dir := binaries.dir
	binaries.Unlock()
	if dir == "" {
		return nil, errors.New("modtest: NewRepo needs a TestMain that calls modtest.Main")
	}
	key := sha256.Sum256([]byte(name + "\x00" + text))
	repos.Lock()
	build, ok := repos.made[key]
	if !ok {
		build = sync.OnceValues(func() (*Repo, error) {
			root, err := os.MkdirTemp(dir, "repo-")
			if err != nil {
				return nil, err
			}
			return makeRepo(root, name, text)
		})
		if repos.made == nil {
			repos.made = make(map[[sha256.Size]byte]func() (*Repo, error))
		}
		repos.made[key] = build
	}
	repos.Unlock()
	return build()
}

// copyTo returns a copy of a repository below root, for one test.
func (r *Repo) copyTo(t testing.TB, root string) (*Repo, error) {
	c := &Repo{
		Path: r.Path, Purpose: r.Purpose, Offers: slices.Clone(r.Offers),
		t: t, name: r.name, text: r.text,
		declared: slices.Clone(r.declared), silent: r.silent, gone: r.gone,
		date: r.date, authored: r.authored, head: r.head,
	}
	c.place(root)
	return c, errors.Join(copyTree(r.work, c.work, ".git/objects"), copyTree(r.bare, c.bare, "objects"))
}

// copyTree copies a folder. What is below objects is linked: git never changes it.
func copyTree(from, to, objects string) error {
	return filepath.WalkDir(from, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(from, file)
		if err != nil {
			return err
		}
		target := filepath.Join(to, name)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o777)
		case strings.HasPrefix(filepath.ToSlash(name), objects+"/"):
			return os.Link(file, target)
		case d.Type() == fs.ModeSymlink:
			link, err := os.Readlink(file)
			if err != nil {
				return err
			}
			return os.Symlink(link, target)
		}
		return copyFile(file, target)
	})
}

func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, content, 0o666), os.Chmod(to, info.Mode().Perm()))
}
