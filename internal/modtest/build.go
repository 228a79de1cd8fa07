package modtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildLimit bounds one build.
const buildLimit = 5 * time.Minute

// binaries are the programs that this test process has built, and a folder that
// [Main] makes and removes. The process owns them because a build takes longer than
// most tests.
var binaries struct {
	sync.Mutex
	dir   string
	built map[string]func() (string, error) // by package
}

// Build builds a main package of this module, such as "./examples/proxy", given
// from the module's root, and returns the program's file. Each package is
// built once a test process, with the race detector if the test has it; the go command
// keeps the program in its build cache, where the next process finds it. The
// test's package needs a TestMain with [Main].
func Build(t testing.TB, pkg string) string {
	t.Helper()
	binaries.Lock()
	if binaries.dir == "" {
		binaries.Unlock()
		t.Fatal("modtest: Build needs a TestMain that calls modtest.Main")
	}
	build, ok := binaries.built[pkg]
	if !ok {
		bin := filepath.Join(binaries.dir, fmt.Sprint(len(binaries.built), "-", filepath.Base(pkg)))
		build = sync.OnceValues(func() (string, error) { return goBuild(pkg, bin) })
		binaries.built[pkg] = build
	}
	binaries.Unlock()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// goBuild builds a program. To link one takes seconds, and only what "go run" links stays in
// the build cache, so this lets "go run" print where the program is. The first time that is a
// folder which "go run" removes in the end.
func goBuild(pkg, bin string) (string, error) {
	echo, err := exec.LookPath("echo")
	if err != nil { // on Windows
		return goBuildAlone(pkg, bin)
	}
	for range 2 {
		kept, err := goOutput("run", "-exec", echo, pkg)
		if err != nil {
			return "", err
		}
		if _, err := os.Stat(kept); err == nil {
			return kept, nil
		}
	}
	return goBuildAlone(pkg, bin)
}

// goBuildAlone builds a program where no cache keeps it.
func goBuildAlone(pkg, bin string) (string, error) {
	_, err := goOutput("build", "-o", bin, pkg)
	return bin, err
}

// goOutput runs a go command that builds, and returns what it prints.
func goOutput(command string, args ...string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	all := []string{command, "-buildvcs=false"}
	if RaceEnabled {
		all = append(all, "-race")
	}
	all = append(all, args...)
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", all...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(all, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out)), nil
}

// toolLimit bounds building a tool, which downloads and compiles a lot the first time.
const toolLimit = 9 * time.Minute

// Tool returns a program that tests talk to and that is not of this project: the
// package as the module in the folder dir pins it, given from this module's root. The
// go command keeps what it has built; a test process asks it once, which takes it a second.
func Tool(t testing.TB, dir, pkg string) string {
	t.Helper()
	name := dir + " " + pkg
	tools.Lock()
	find, ok := tools.found[name]
	if !ok {
		find = sync.OnceValues(func() (string, error) { return goTool(dir, pkg) })
		if tools.found == nil {
			tools.found = make(map[string]func() (string, error))
		}
		tools.found[name] = find
	}
	tools.Unlock()
	bin, err := find()
	if err != nil {
		t.Fatal(err)
	}
	return bin
}

// tools are the programs that [Tool] has found, by folder and package.
var tools struct {
	sync.Mutex
	found map[string]func() (string, error)
}

func goTool(dir, pkg string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), toolLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "tool", "-n", pkg)
	cmd.Dir, cmd.Env = filepath.Join(root, filepath.FromSlash(dir)), append(os.Environ(), "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	bin, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go tool %s: %w\n%s", pkg, err, &stderr)
	}
	return strings.TrimSpace(string(bin)), nil
}

// RootDir returns this module's root folder, so that a test finds files of the repository
// from any package.
func RootDir(t testing.TB) string {
	t.Helper()
	root, err := moduleRoot()
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// moduleRoot finds this module's root folder above the working directory, which for
// a test is its package's folder. It skips the go.mod of a nested module.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module github.com/athens-go/athens\n")) {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("modtest: no go.mod of this module above the working directory")
		}
		dir = filepath.Dir(dir)
	}
}
