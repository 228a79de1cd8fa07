package conventions_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root = "../.." // of the repository, seen from here
	self = "github.com/athens-go/athens"
)

// file is one Go file of the repository, of whatever module.
type file struct {
	name  string // slash-separated, from the repository's root
	dir   string // its folder, "." for the root
	test  bool
	lines int
	fset  *token.FileSet
	*ast.File
}

// at says where n stands, as an editor understands it.
func (f *file) at(n ast.Node) string {
	return f.name + ":" + strconv.Itoa(f.fset.Position(n.Pos()).Line)
}

// span is how many lines n has, its closing brace not counted.
func (f *file) span(n ast.Node) int {
	return f.fset.Position(n.End()).Line - f.fset.Position(n.Pos()).Line
}

// imports lists what f imports.
func (f *file) imports() []string {
	var all []string
	for _, s := range f.Imports {
		if p, err := strconv.Unquote(s.Path.Value); err == nil {
			all = append(all, p)
		}
	}
	return all
}

// walk calls visit for every file of the repository that is not hidden, given
// its slash-separated name.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	require.NoError(t, walkRoot(func(name string) error {
		visit(name)
		return nil
	}))
}

func walkRoot(visit func(name string) error) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		hidden := strings.HasPrefix(d.Name(), ".") && rel != "."
		if d.IsDir() {
			if hidden && d.Name() != ".ci" && d.Name() != ".github" {
				return filepath.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() {
			return visit(filepath.ToSlash(rel))
		}
		return nil
	})
}

// sources returns every Go file but those under testdata. The tests share them, and change
// nothing in them.
func sources(t *testing.T) []*file {
	t.Helper()
	all, err := parsed()
	require.NoError(t, err)
	require.NotEmpty(t, all)
	return all
}

var parsed = sync.OnceValues(func() ([]*file, error) {
	var all []*file
	fset := token.NewFileSet()
	err := walkRoot(func(name string) error {
		if path.Ext(name) != ".go" || strings.Contains("/"+name, "/testdata/") {
			return nil
		}
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		if err != nil {
			return err
		}
		parsed, err := parser.ParseFile(fset, name, content, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		all = append(all, &file{
			name: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			lines: bytes.Count(content, []byte("\n")), fset: fset, File: parsed,
		})
		return nil
	})
	return all, err
})

// packages groups the files by folder; a folder's external tests belong to it.
func packages(t *testing.T) map[string][]*file {
	t.Helper()
	all := map[string][]*file{}
	for _, f := range sources(t) {
		all[f.dir] = append(all[f.dir], f)
	}
	return all
}

// isMain reports whether the package is a program.
func isMain(files []*file) bool {
	for _, f := range files {
		if !f.test {
			return f.Name.Name == "main"
		}
	}
	return false
}

// internal reports whether importers of the module can't see dir.
func internal(dir string) bool {
	return strings.Contains("/"+dir+"/", "/internal/")
}
