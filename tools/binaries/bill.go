package main

import (
	"cmp"
	"debug/buildinfo"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
)

// self is the module path of the repository; the paths of its nested modules begin with it.
const self = "github.com/athens-go/athens"

// A commit is what a checkout has checked out.
type commit struct {
	version string // its tag, or what "git describe" says
	time    string // of the commit, in RFC 3339
}

// commitOf asks git about the checkout in tree.
func commitOf(tree string) (commit, error) {
	ask := func(args ...string) (string, error) {
		cmd := exec.Command("git", append([]string{"-C", tree}, args...)...)
		cmd.Env = append(os.Environ(), "TZ=UTC", "GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("git %s: %w", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	var c commit
	var err error
	if c.version, err = ask("describe", "--tags", "--always", "--match", "v[0-9]*"); err != nil {
		return commit{}, err
	}
	c.time, err = ask("show", "-s", "--date=format-local:%Y-%m-%dT%H:%M:%SZ", "--format=%cd", "HEAD")
	return c, err
}

// writeBill writes a bill of materials beside a binary with that hash, in CycloneDX's JSON:
// the modules that the linker has put into it, as the binary itself says. Each has its
// checksum as go.sum has it. It returns the path of the bill.
func writeBill(file, hash string, c commit) (string, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return "", err
	}
	bom := cyclonedx.NewBOM()
	bom.Metadata = &cyclonedx.Metadata{
		Timestamp: c.time,
		Component: &cyclonedx.Component{
			BOMRef:  "binary",
			Type:    cyclonedx.ComponentTypeApplication,
			Name:    info.Path,
			Version: c.version,
			Hashes:  &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hash}},
		},
	}
	components := []cyclonedx.Component{library("std", strings.TrimPrefix(info.GoVersion, "go"), "")}
	uses := []string{components[0].BOMRef}
	for _, m := range info.Deps {
		if m.Replace != nil && !strings.HasPrefix(m.Path, self) {
			m = m.Replace
		}
		version := m.Version
		if m.Path == self || strings.HasPrefix(m.Path, self+"/") {
			version = c.version // of the same commit, whatever go.mod calls it
		}
		next := library(m.Path, version, m.Sum)
		components = append(components, next)
		uses = append(uses, next.BOMRef)
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: "binary", Dependencies: &uses}}

	bill := strings.TrimSuffix(file, ".exe") + ".cdx.json"
	f, err := os.Create(bill)
	if err != nil {
		return "", err
	}
	err = cyclonedx.NewBOMEncoder(f, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(bom)
	return bill, cmp.Or(err, f.Close())
}

// library is a module as a component. Its reference is its package URL.
func library(path, version, sum string) cyclonedx.Component {
	url := fmt.Sprintf("pkg:golang/%s@%s?type=module", path, strings.ReplaceAll(version, "+", "%2B"))
	c := cyclonedx.Component{
		BOMRef: url, PackageURL: url, Type: cyclonedx.ComponentTypeLibrary, Name: path, Version: version,
	}
	if sum != "" {
		c.Properties = &[]cyclonedx.Property{{Name: "go:sum", Value: sum}}
	}
	return c
}
