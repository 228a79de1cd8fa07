package main

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/CycloneDX/cyclonedx-go"
)

// TestTwice builds one program from two clones in different folders, and
// with ATHENS_SOAK set everything, the second time with an empty build cache. All bytes
// must be the same.
func TestTwice(t *testing.T) {
	platforms, packages := []string{"linux/amd64"}, []string{"./examples/store"}
	if os.Getenv("ATHENS_SOAK") != "" {
		platforms, packages = targets, programs
	}
	var outs [2]string
	for i := range outs {
		tree, out := filepath.Join(t.TempDir(), strings.Repeat("x", i+1)), filepath.Join(t.TempDir(), "out")
		if text, err := exec.Command("git", "clone", "-q", "../..", tree).CombinedOutput(); err != nil {
			t.Skipf("not a git checkout: %v\n%s", err, text)
		}
		if i > 0 && os.Getenv("ATHENS_SOAK") != "" {
			t.Setenv("GOCACHE", t.TempDir())
		}
		if err := run(tree, out, platforms, packages); err != nil {
			t.Fatal(err)
		}
		outs[i] = out
	}
	entries, err := os.ReadDir(outs[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := 2*len(platforms)*len(packages) + 1; len(entries) != want {
		t.Errorf("%d files, not %d: %v", len(entries), want, entries)
	}
	for _, e := range entries {
		first, err := os.ReadFile(filepath.Join(outs[0], e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(filepath.Join(outs[1], e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s: the second build is different", e.Name())
		}
		t.Logf("%s: %d bytes", e.Name(), len(first))
	}
	checkSums(t, outs[0], len(entries)-1)
	checkStatic(t, filepath.Join(outs[0], "athens-store-linux-amd64"))
	checkBill(t, filepath.Join(outs[0], "athens-store-linux-amd64.cdx.json"))
}

// checkSums compares each line of SHA256SUMS with the file.
func checkSums(t *testing.T, out string, files int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != files {
		t.Errorf("%d checksums of %d files", len(lines), files)
	}
	for _, line := range lines {
		sum, name, ok := strings.Cut(line, "  ")
		if got, err := hashOf(filepath.Join(out, name)); err != nil || !ok || got != sum {
			t.Errorf("%q: the file has %s (%v)", line, got, err)
		}
	}
}

// checkStatic wants an executable that needs no library and names no folder of this
// machine.
func checkStatic(t *testing.T, file string) {
	t.Helper()
	f, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the executable wants a dynamic linker")
		}
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{os.TempDir() + "/", "/root/", "/home/"} {
		if at := bytes.Index(b, []byte(dir+"Test")); at >= 0 {
			t.Errorf("the executable has %q", b[at:min(len(b), at+100)])
		}
	}
}

// checkBill reads the bill of materials and looks for what it must have.
func checkBill(t *testing.T, file string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bom cyclonedx.BOM
	if err := cyclonedx.NewBOMDecoder(f, cyclonedx.BOMFileFormatJSON).Decode(&bom); err != nil {
		t.Fatal(err)
	}
	if got := bom.Metadata.Component.Name; got != self+"/examples/store" {
		t.Errorf("the bill is of %s", got)
	}
	if got := bom.Metadata.Timestamp; !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`).MatchString(got) {
		t.Errorf("its time is %q", got)
	}
	found := map[string]string{}
	for _, c := range *bom.Components {
		found[c.Name] = fmt.Sprint(c.Version, c.Properties)
		if c.Properties == nil && c.Name != "std" {
			t.Errorf("%s has no checksum", c.Name)
		}
	}
	for _, want := range []string{"std", "golang.org/x/mod"} {
		if found[want] == "" {
			t.Errorf("the bill lacks %s: %v", want, found)
		}
	}
}
