package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// run builds each program for each target and writes the checksums last.
func run(tree, out string, targets, programs []string) error {
	out, err := filepath.Abs(out)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if entries, err := os.ReadDir(out); err != nil || len(entries) > 0 {
		return fmt.Errorf("%s is not an empty folder (%v)", out, err)
	}
	commit, err := commitOf(tree)
	if err != nil {
		return err
	}
	var sums []string
	for _, target := range targets {
		for _, program := range programs {
			file, err := build(tree, out, target, program)
			if err != nil {
				return err
			}
			sum, err := hashOf(file)
			if err != nil {
				return err
			}
			bill, err := writeBill(file, sum, commit)
			if err != nil {
				return err
			}
			billSum, err := hashOf(bill)
			if err != nil {
				return err
			}
			sums = append(sums, fmt.Sprintf("%s  %s\n", sum, filepath.Base(file)), fmt.Sprintf("%s  %s\n", billSum, filepath.Base(bill)))
			fmt.Println(filepath.Base(file))
		}
	}
	slices.SortFunc(sums, func(a, b string) int { return strings.Compare(a[64:], b[64:]) })
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), []byte(strings.Join(sums, "")), 0o644)
}

// build writes out/athens-NAME-OS-ARCH and returns its path. Nothing of this machine gets
// into the file: no path of a folder, no library, no setting of the environment.
func build(tree, out, target, program string) (string, error) {
	system, arch, ok := strings.Cut(target, "/")
	if !ok {
		return "", fmt.Errorf("%q is not a platform such as linux/amd64", target)
	}
	file := filepath.Join(out, fmt.Sprintf("athens-%s-%s-%s", filepath.Base(program), system, arch))
	if system == "windows" {
		file += ".exe"
	}
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=true", "-ldflags=-s -w -buildid=", "-o", file, program)
	cmd.Dir = tree
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=",
		"GOAMD64=v1", "GOARM64=v8.0", "GODEBUG=", "GOFIPS140=off")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s for %s: %w\n%s", program, target, err, text)
	}
	return file, nil
}

// hashOf returns a file's SHA-256 in hexadecimal.
func hashOf(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}
