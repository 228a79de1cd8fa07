package conventions_test

import (
	"go/ast"
	"path"
	"slices"
	"strings"
	"testing"
)

// A file has one subject, and is read in one go.
func TestFilesAreShort(t *testing.T) {
	for _, f := range sources(t) {
		if !f.test && f.lines > 400 {
			t.Errorf("%s has %d lines, more than 400", f.name, f.lines)
		}
	}
}

// A function is seen at once. Tables, which are long without being hard, stand
// in variables and tests.
func TestFunctionsAreShort(t *testing.T) {
	for _, f := range sources(t) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && !f.test && f.span(fn) > 60 {
				t.Errorf("%s: %s has %d lines, more than 60", f.at(fn), fn.Name.Name, f.span(fn))
			}
		}
	}
}

// A main shows how the parts fit: flags, parts, handler, serve, shut down.
func TestMainsAreShort(t *testing.T) {
	for _, f := range sources(t) {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if ok && f.Name.Name == "main" && fn.Recv == nil && fn.Name.Name == "main" && f.lines > 80 {
				t.Errorf("%s has %d lines, more than 80", f.name, f.lines)
			}
		}
	}
}

// A package is named for what it provides, so that it can't take in everything.
func TestPackageNames(t *testing.T) {
	vague := []string{"util", "utils", "common", "helper", "helpers", "types", "misc", "shared", "base", "pkg"}
	for _, f := range sources(t) {
		name := strings.TrimSuffix(f.Name.Name, "_test")
		if slices.Contains(vague, name) {
			t.Errorf("%s: the package name %s says nothing", f.name, name)
		}
		if name != "main" && f.dir != "." && name != path.Base(f.dir) {
			t.Errorf("%s: package %s is not named as its folder", f.name, name)
		}
	}
}

// Nothing happens because a package was imported.
func TestNoInit(t *testing.T) {
	for _, f := range sources(t) {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				t.Errorf("%s: func init", f.at(fn))
			}
		}
	}
}

// A test that sleeps is slow, and fails on a slow machine. In a bubble of
// testing/synctest a sleep is none.
func TestTestsDoNotSleep(t *testing.T) {
	for _, f := range sources(t) {
		if f.test && !slices.Contains(f.imports(), "testing/synctest") {
			for _, call := range calls(f, "time", "Sleep") {
				t.Errorf("%s: time.Sleep in a test", f.at(call))
			}
		}
	}
}

// A test that is skipped proves nothing, and says at least why.
func TestSkipsSayWhy(t *testing.T) {
	for _, f := range sources(t) {
		if !f.test {
			continue
		}
		for _, name := range []string{"t", "tb", "b", "f"} {
			for _, call := range calls(f, name, "SkipNow") {
				t.Errorf("%s: SkipNow gives no reason", f.at(call))
			}
			for _, call := range calls(f, name, "Skip") {
				if len(call.Args) == 0 {
					t.Errorf("%s: Skip gives no reason", f.at(call))
				}
			}
		}
	}
}

// calls lists the calls of x.name in f.
func calls(f *file, x, name string) []*ast.CallExpr {
	var all []*ast.CallExpr
	ast.Inspect(f.File, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || sel.Sel.Name != name {
			return true
		}
		if id, ok := sel.X.(*ast.Ident); ok && id.Name == x {
			all = append(all, call)
		}
		return true
	})
	return all
}

// What a test's processes and servers find in a home is the user's, and none of the
// test's business; see modtest.Main. The step "test" of .ci/run shows that it works.
func TestTestsHaveTheirOwnHome(t *testing.T) {
	for dir, files := range packages(t) {
		if strings.HasPrefix(dir, "tools/") {
			continue // other modules, and no part of "go test work"
		}
		var why string
		isolated := isMain(files) && dir == "internal/hometrap" // which sets a home of its own
		for _, f := range files {
			if !f.test {
				continue
			}
			for _, name := range []string{"os/exec", self + "/internal/modtest"} {
				if slices.Contains(f.imports(), name) {
					why = f.name + " imports " + name
				}
			}
			isolated = isolated || len(calls(f, "modtest", "Main")) > 0 || len(calls(f, "modtest", "MainInMemory")) > 0
		}
		if why != "" && !isolated {
			t.Errorf("%s: the package has no TestMain that calls modtest.Main", why)
		}
	}
}
