package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"
)

// packed is a module zip in a temporary file.
type packed struct {
	file string
	size int64
	from string   // what it was made of
	sums []string // its lines of go.sum
}

func (p *packed) remove() { _ = os.Remove(p.file) }

// pack makes the zip of a version: of the commit that is checked out, if dir is in a git
// work tree without changes, otherwise of the files in dir.
func pack(ctx context.Context, m module.Version, dir string, dirty bool) (*packed, error) {
	out, err := os.CreateTemp("", "publish-*.zip")
	if err != nil {
		return nil, err
	}
	p := &packed{file: out.Name()}
	err = p.fill(ctx, out, m, dir, dirty)
	if err := errors.Join(err, out.Close()); err != nil {
		p.remove()
		return nil, err
	}
	if err := p.sum(m); err != nil {
		p.remove()
		return nil, err
	}
	return p, nil
}

func (p *packed) fill(ctx context.Context, out *os.File, m module.Version, dir string, dirty bool) error {
	w, err := openWorkTree(ctx, dir)
	if err != nil {
		return err
	}
	changes := ""
	if w != nil && !dirty {
		if changes, err = w.git(ctx, "status", "--porcelain", "--", "."); err != nil {
			return err
		}
	}
	switch {
	case w != nil && w.commit == "" && !dirty:
		return errors.New("the work tree has no commit yet; commit the module, or publish the files as they are with -allow-dirty")
	case changes != "":
		first, _, _ := strings.Cut(strings.TrimSpace(changes), "\n")
		return fmt.Errorf("the work tree has uncommitted changes, such as %q; commit them, or publish the files as they are with -allow-dirty", first)
	case w == nil || dirty:
		p.from = "the files in " + dir
		err = modzip.CreateFromDir(out, m, dir)
	default:
		p.from = "commit " + w.commit
		var files []modzip.File
		if files, err = w.files(ctx); err == nil {
			err = modzip.Create(out, m, files)
		}
	}
	if err != nil {
		return err
	}
	p.size, err = out.Seek(0, io.SeekEnd)
	return err
}

// sum computes the lines of go.sum.
func (p *packed) sum(m module.Version) error {
	hash, err := dirhash.HashZip(p.file, dirhash.Hash1)
	if err != nil {
		return err
	}
	z, err := zip.OpenReader(p.file)
	if err != nil {
		return err
	}
	defer z.Close()
	mod, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return z.Open(m.String() + "/go.mod") })
	if err != nil {
		return fmt.Errorf("the go.mod is not part of what would be published: %w", err)
	}
	p.sums = []string{m.Path + " " + m.Version + " " + hash, m.Path + " " + m.Version + "/go.mod " + mod}
	return nil
}

// workTree is a folder in a git work tree.
type workTree struct {
	dir    string
	subdir string // of the repository, with slashes; empty is its root
	commit string // that is checked out; empty if there is none yet
}

// openWorkTree returns nil if dir is in no git work tree, or there is no git command.
func openWorkTree(ctx context.Context, dir string) (*workTree, error) {
	if _, err := exec.LookPath("git"); err != nil {
		return nil, nil
	}
	w := &workTree{dir: dir}
	prefix, err := w.git(ctx, "rev-parse", "--show-prefix")
	if errors.As(err, new(*exec.ExitError)) && ctx.Err() == nil && !within(dir, ".git") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	w.subdir = strings.TrimSuffix(strings.TrimSpace(prefix), "/")
	commit, err := w.git(ctx, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
	w.commit = strings.TrimSpace(commit)
	if w.commit == "" && errors.As(err, new(*exec.ExitError)) && ctx.Err() == nil {
		err = nil
	}
	return w, err
}

// within reports whether dir, or a folder above it, has an entry of that name.
func within(dir, name string) bool {
	dir, err := filepath.Abs(dir)
	for err == nil {
		if _, statErr := os.Lstat(filepath.Join(dir, name)); statErr == nil {
			return true
		}
		if filepath.Dir(dir) == dir {
			return false
		}
		dir = filepath.Dir(dir)
	}
	return false
}

// git runs a git command in the folder.
func (w *workTree) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = w.dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// files returns the files of the commit below the folder, as the go command gets them: from
// "git archive" in a repository of its own, where no export-ignore and export-subst is in
// force. As there, a module in a folder without a LICENSE has that of the root.
func (w *workTree) files(ctx context.Context) ([]modzip.File, error) {
	bare, err := os.MkdirTemp("", "publish-*.git")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(bare)
	if err := w.share(ctx, bare); err != nil {
		return nil, err
	}
	args := []string{"--git-dir", bare, "-c", "core.autocrlf=input", "-c", "core.eol=lf", "archive", "--format=zip", w.commit}
	if w.subdir != "" {
		args = append(args, w.subdir)
	}
	root := &workTree{dir: bare}
	archive, err := root.git(ctx, args...)
	if err != nil {
		return nil, err
	}
	z, err := zip.NewReader(strings.NewReader(archive), int64(len(archive)))
	if err != nil {
		return nil, err
	}
	var files []modzip.File
	license := w.subdir == ""
	for _, f := range z.File {
		name := f.Name
		if w.subdir != "" {
			name = strings.TrimPrefix(name, w.subdir+"/")
		}
		if name == "" || strings.HasSuffix(name, "/") {
			continue
		}
		license = license || name == "LICENSE"
		files = append(files, archived{name, f.FileInfo(), f.Open})
	}
	if !license {
		if text, err := root.git(ctx, "--git-dir", bare, "cat-file", "blob", w.commit+":LICENSE"); err == nil {
			files = append(files, archived{"LICENSE", fileInfo{"LICENSE", int64(len(text))}, func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }})
		}
	}
	return files, nil
}

// share makes an empty repository that borrows the objects of the work tree's.
func (w *workTree) share(ctx context.Context, bare string) error {
	objects, err := w.git(ctx, "rev-parse", "--path-format=absolute", "--git-path", "objects")
	if err != nil {
		return err
	}
	format := "sha1"
	if len(w.commit) > 40 {
		format = "sha256"
	}
	if _, err := w.git(ctx, "init", "--quiet", "--bare", "--template=", "--object-format="+format, bare); err != nil {
		return err
	}
	for name, text := range map[string]string{
		"objects/info/alternates": objects,
		"info/attributes":         "* -export-subst -export-ignore\n",
	} {
		file := filepath.Join(bare, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(file), 0o777)
		if err == nil {
			err = os.WriteFile(file, []byte(text), 0o666)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// archived is a file of an archive.
type archived struct {
	name string
	info fs.FileInfo
	open func() (io.ReadCloser, error)
}

func (f archived) Path() string                 { return f.name }
func (f archived) Lstat() (fs.FileInfo, error)  { return f.info, nil }
func (f archived) Open() (io.ReadCloser, error) { return f.open() }

// fileInfo describes a regular file that is in memory.
type fileInfo struct {
	name string
	size int64
}

func (i fileInfo) Name() string     { return i.name }
func (i fileInfo) Size() int64      { return i.size }
func (fileInfo) Mode() fs.FileMode  { return 0o644 }
func (fileInfo) ModTime() time.Time { return time.Time{} }
func (fileInfo) IsDir() bool        { return false }
func (fileInfo) Sys() any           { return nil }
