package fetcher

import (
	"context"
	"errors"
	"path"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// A codeRepo is one module in its repository, with one state of the
// repository's references. It serves one request.
type codeRepo struct {
	path        string
	root        string // import path of the repository's root
	dir         string // folder in which the module is expected
	prefix      string // path without its major version suffix
	major       string // that suffix: "", "/v2" or ".v2"
	pseudoMajor string // major version that pseudo-versions begin with: "" or "v2"

	repo *repo
	refs *refSet
	revs map[string]*revision // results of stat

	listed  map[string][]string // versions, by what they begin with
	release func()              // gives back the room for what is made of refs; see makeRoom
}

// newSource returns the codeRepo of a module in a repository.
func newSource(p *repoLocation, modPath string, r *repo, rs *refSet) (*codeRepo, error) {
	if !hasPathPrefix(modPath, p.root) {
		return nil, notFoundf("the repository's root is %s, which is not a prefix of the module path", p.root)
	}
	prefix, major, ok := module.SplitPathVersion(modPath)
	if !ok {
		return nil, notFoundf("invalid module path")
	}
	s := &codeRepo{
		path: modPath, root: p.root, prefix: prefix, major: major,
		pseudoMajor: module.PathMajorPrefix(major),
		repo:        r, refs: rs, revs: make(map[string]*revision), listed: make(map[string][]string),
	}
	switch {
	case p.root == modPath:
		s.prefix = modPath
	case !hasPathPrefix(prefix, p.root):
		return nil, notFoundf("a repository with root %s can't contain this module", p.root)
	default:
		s.dir = strings.Trim(prefix[len(p.root):], "/")
	}
	if p.subdir != "" {
		s.dir = path.Join(s.dir, p.subdir)
	}
	return s, nil
}

// tagPrefix returns the prefix of the module's tags.
func (s *codeRepo) tagPrefix() string {
	if s.dir == "" {
		return ""
	}
	return s.dir + "/"
}

// stat calls the repository's stat once for each revision.
func (s *codeRepo) stat(ctx context.Context, rev string) (*revision, error) {
	if r, ok := s.revs[rev]; ok {
		return r, nil
	}
	r, err := s.repo.stat(ctx, s.refs, rev)
	if err == nil {
		s.revs[rev] = r
	}
	return r, err
}

// revOf returns the tag or the hash of a version. Other revisions are returned
// unchanged.
func (s *codeRepo) revOf(version string) string {
	switch {
	case !semver.IsValid(version):
		return version
	case module.IsPseudoVersion(version):
		rev, _ := module.PseudoVersionRev(version)
		return rev
	}
	return s.tagPrefix() + strings.TrimSuffix(version, incompatible)
}

const incompatible = "+incompatible"

// hasFile reports whether a revision has a file. An error means that it is not known.
func (s *codeRepo) hasFile(ctx context.Context, rev *revision, name string) (bool, error) {
	o, err := s.repo.open(ctx)
	if err != nil {
		return false, err
	}
	defer o.close()
	_, err = o.findFile(rev.tree, name)
	if errors.Is(err, errNoFile) {
		return false, nil
	}
	return err == nil, err
}

// A moduleRoot is where a version of a module is: a folder of a commit, with the
// go.mod there, which is nil if there is none.
type moduleRoot struct {
	rev   *revision
	dir   string
	gomod []byte
}

// findModule finds the module root in a version's commit, by the go command's rules:
// its go.mod is in the folder that the module path gives, or for "/v2" and above in a
// subfolder of that name, and it must declare the right major version. Only at a
// repository's root may the go.mod be missing.
func (s *codeRepo) findModule(ctx context.Context, version string) (*moduleRoot, error) {
	if !semver.IsValid(version) {
		return nil, notFoundf("%q is not a version", version)
	}
	rev, err := s.stat(ctx, s.revOf(version))
	if err != nil {
		return nil, err
	}
	file1 := path.Join(s.dir, "go.mod")
	gomod1, err1 := s.repo.readFile(ctx, rev, file1)
	if err1 != nil && !errors.Is(err1, errNoFile) {
		return nil, err1
	}
	declared1 := modfile.ModulePath(gomod1)
	found1 := err1 == nil && (majorFits(declared1, s.major) ||
		s.major == "" && strings.HasPrefix(declared1, "gopkg.in/"))

	hasSecond := s.major != "" && s.root != s.path && !strings.HasPrefix(s.major, ".")
	if hasSecond {
		dir2 := path.Join(s.dir, s.major[1:])
		gomod2, err2 := s.repo.readFile(ctx, rev, path.Join(dir2, "go.mod"))
		if err2 != nil && !errors.Is(err2, errNoFile) {
			return nil, err2
		}
		declared2 := modfile.ModulePath(gomod2)
		found2 := err2 == nil && majorFits(declared2, s.major)
		switch {
		case found1 && found2:
			return nil, notFoundf("%s and %s/go.mod both declare a path with %s", file1, dir2, s.major)
		case found2:
			return &moduleRoot{rev, dir2, orEmpty(gomod2)}, nil
		case err2 == nil && declared2 == "":
			return nil, notFoundf("%s/go.mod declares no module path", dir2)
		case err2 == nil:
			return nil, notFoundf("%s/go.mod declares the module path %q, which does not end in %s", dir2, declared2, s.major)
		}
	}
	switch {
	case found1:
		return &moduleRoot{rev, s.dir, orEmpty(gomod1)}, nil
	case err1 == nil:
		return nil, s.mismatch(file1, declared1, version)
	case s.dir == "" && (s.major == "" || strings.HasPrefix(s.major, ".")):
		return &moduleRoot{rev, "", nil}, nil
	case hasSecond:
		return nil, notFoundf("there is neither %s nor %s", file1, path.Join(s.dir, s.major[1:], "go.mod"))
	}
	return nil, notFoundf("there is no %s", file1)
}

// mismatch returns the error for a go.mod that declares another module.
func (s *codeRepo) mismatch(file, declared, version string) error {
	if declared == "" {
		return notFoundf("%s declares no module path", file)
	}
	if s.major != "" {
		return notFoundf("%s declares the module path %q, which does not end in %s", file, declared, s.major)
	}
	return notFoundf("%s declares the module path %q, which does not fit %s", file, declared, semver.Major(version))
}

func orEmpty(data []byte) []byte {
	if data == nil {
		return []byte{}
	}
	return data
}

// majorFits reports whether the module path that a go.mod declares allows the
// major versions of the suffix major.
func majorFits(declared, major string) bool {
	if declared == "" {
		return false
	}
	_, own, ok := module.SplitPathVersion(declared)
	switch {
	case !ok:
		return false
	case major == "":
		p := module.PathMajorPrefix(own)
		return p == "" || p == "v0" || p == "v1"
	case own == "":
		return false
	}
	// "/v2" and ".v2" have the same rules.
	return major[1:] == own[1:]
}

// goMod returns the .mod: the go.mod as it is stored in git, or a synthesized one if
// there is none.
func (s *codeRepo) goMod(t *moduleRoot) []byte {
	if t.gomod != nil {
		return t.gomod
	}
	return madeUpMod(s.path)
}

// madeUpMod returns the .mod of a version without a go.mod, as the go command
// synthesizes it.
func madeUpMod(path string) []byte {
	return []byte("module " + modfile.AutoQuote(path) + "\n")
}
