package prefetch

import (
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

// FuzzFollow follows .mod files of any content: candidates are canonical versions, each
// once, and no more than the bounds allow.
func FuzzFollow(f *testing.F) {
	f.Add([]byte("module example.com/m\n\nrequire (\n\texample.com/a v1.0.0\n\texample.com/A v1.0.0 // indirect\n)\n"))
	f.Add([]byte("module m\ngo 1.17\nrequire " + strings.Repeat("a.test/x v1.0.0\nrequire ", 20)))
	f.Add([]byte("go 1.99.x\nrequire example.com/../m v1\nrequire example.com/m v1.0.0-20200101000000-abcdefabcdef\nrequire corp.test/m master"))
	f.Add([]byte("require (\x00\n\"a b\" `v1.0.0`\n)\nreplace a => ../../etc\n"))
	f.Fuzz(func(t *testing.T, mod []byte) {
		p := New(0, nil, nil)
		m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
		p.Follow(m, mod)
		p.Follow(m, mod)
		if len(p.queue) > maxRequires || p.credit < 0 || p.credit > maxCredit {
			t.Errorf("%d candidates, credit %d", len(p.queue), p.credit)
		}
		seen := map[module.Version]bool{}
		for _, c := range p.queue {
			if c.Zip || !protocol.Canonical(c.Module) || seen[c.Module] {
				t.Errorf("candidate %+v", c)
			}
			seen[c.Module] = true
		}
	})
}
