package athens

import (
	"strings"
	"testing"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

// FuzzFollow reads ahead of .mod files of anybody's making: what is wished for are
// versions that there can be, each once, no more than may be, and fewer of a pruned
// graph.
func FuzzFollow(f *testing.F) {
	f.Add([]byte("module example.com/m\n\nrequire (\n\texample.com/a v1.0.0\n\texample.com/A v1.0.0 // indirect\n)\n"))
	f.Add([]byte("module m\ngo 1.17\nrequire " + strings.Repeat("a.test/x v1.0.0\nrequire ", 20)))
	f.Add([]byte("go 1.99.x\nrequire example.com/../m v1\nrequire example.com/m v1.0.0-20200101000000-abcdefabcdef\nrequire corp.test/m master"))
	f.Add([]byte("require (\x00\n\"a b\" `v1.0.0`\n)\nreplace a => ../../etc\n"))
	f.Fuzz(func(t *testing.T, mod []byte) {
		a := newPrefetcher(0, nil, nil)
		m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
		a.follow(m, mod)
		a.follow(m, mod)
		if len(a.queue) > maxRequires || a.credit < 0 || a.credit > maxCredit {
			t.Errorf("%d candidates, credit %d", len(a.queue), a.credit)
		}
		seen := map[module.Version]bool{}
		for _, w := range a.queue {
			if w.zip || !protocol.Canonical(w.module) || seen[w.module] {
				t.Errorf("candidates for %+v", w)
			}
			seen[w.module] = true
		}
	})
}
