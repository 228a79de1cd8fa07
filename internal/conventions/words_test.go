package conventions_test

import (
	"bytes"
	"go/ast"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each package begins with a tour.
func TestPackagesHaveComments(t *testing.T) {
	for dir, files := range packages(t) {
		if slices.IndexFunc(files, func(f *file) bool { return !f.test }) < 0 {
			continue
		}
		n := 0
		for _, f := range files {
			if f.Doc != nil && !f.test {
				n++
				want := "Package " + f.Name.Name + " "
				if f.Name.Name == "main" {
					want = "Command "
				}
				if !strings.HasPrefix(f.Doc.Text(), want) {
					t.Errorf("%s: the package comment does not begin with %q", f.name, want)
				}
			}
		}
		if n != 1 {
			t.Errorf("%s has %d package comments", dir, n)
		}
	}
}

// What others may use is shown in use, and the output is checked.
func TestPackagesHaveExamples(t *testing.T) {
	output := regexp.MustCompile(`(?im)^\s*(//\s*)?(unordered )?output:`)
	for dir, files := range packages(t) {
		if isMain(files) || internal(dir) || exportsNothing(files) {
			continue
		}
		found := slices.ContainsFunc(files, func(f *file) bool {
			return f.test && slices.ContainsFunc(f.Decls, func(d ast.Decl) bool {
				fn, ok := d.(*ast.FuncDecl)
				return ok && strings.HasPrefix(fn.Name.Name, "Example") && slices.ContainsFunc(f.Comments, func(c *ast.CommentGroup) bool {
					return c.Pos() > fn.Pos() && c.End() < fn.End() && output.MatchString(c.Text())
				})
			})
		})
		if !found {
			t.Errorf("%s has no Example with an Output comment", dir)
		}
	}
}

// Every exported name says what it is.
func TestExportedNamesAreDocumented(t *testing.T) {
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && shown(d) && d.Doc == nil {
					t.Errorf("%s: %s has no comment", f.at(d), d.Name.Name)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					checkSpec(t, f, d, s)
				}
			}
		}
	}
}

// shown is true for functions, and for methods that godoc shows. The
// well-known ones explain themselves.
func shown(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	if slices.Contains([]string{"Error", "String", "Unwrap"}, d.Name.Name) {
		return false
	}
	typ := d.Recv.List[0].Type
	if star, ok := typ.(*ast.StarExpr); ok {
		typ = star.X
	}
	if index, ok := typ.(*ast.IndexExpr); ok {
		typ = index.X
	}
	id, ok := typ.(*ast.Ident)
	return ok && id.IsExported()
}

// checkSpec wants a comment on each exported type, constant and variable, or on
// their group; and on every field of an Options, where it is what users read.
func checkSpec(t *testing.T, f *file, d *ast.GenDecl, s ast.Spec) {
	need := func(name *ast.Ident, docs ...*ast.CommentGroup) {
		if name.IsExported() && !slices.ContainsFunc(docs, func(c *ast.CommentGroup) bool { return c != nil }) {
			t.Errorf("%s: %s has no comment", f.at(name), name.Name)
		}
	}
	switch s := s.(type) {
	case *ast.TypeSpec:
		need(s.Name, d.Doc, s.Doc)
		typ, ok := s.Type.(*ast.StructType)
		if !ok || !strings.HasSuffix(s.Name.Name, "Options") {
			return
		}
		for _, field := range typ.Fields.List {
			for _, name := range field.Names {
				need(name, field.Doc, field.Comment)
			}
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			need(name, d.Doc, s.Doc, s.Comment)
		}
	}
}

// The project works with any GOPROXY server, and asks for none by name: which one
// is asked is the user's setting. The names are in pieces so that this
// file passes.
func TestNoRegistryIsNamed(t *testing.T) {
	hosts := []string{"proxy." + "golang.org", "registry." + "npmjs", "deb." + "debian.org"}
	walk(t, func(name string) {
		content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
		require.NoError(t, err)
		for _, host := range hosts {
			if bytes.Contains(content, []byte(host)) {
				t.Errorf("%s names %s", name, host)
			}
		}
	})
}

// exportsNothing reports whether a package is its tests.
func exportsNothing(files []*file) bool {
	return !slices.ContainsFunc(files, func(f *file) bool { return !f.test && len(f.Decls) > 0 })
}
