package prefetch_test

import (
	"fmt"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/prefetch"
	"github.com/athens-go/athens/internal/protocol"
)

// A client requests a module without pruning and then one of its requirements, so the
// other one is fetched before the client requests it.
func Example() {
	fetched := make(chan module.Version, 1)
	load := func(c prefetch.Candidate) (bool, bool) {
		if c.Module.Path == "example.com/b" {
			fetched <- c.Module
		}
		return true, true
	}
	read := func(m module.Version) ([]byte, error) { return []byte("module " + m.Path), nil }
	p := prefetch.New(1, load, read)
	defer p.Stop()
	app := module.Version{Path: "example.com/app", Version: "v1.0.0"}
	p.Requested(app, protocol.Mod, false)
	p.Follow(app, []byte("module example.com/app\nrequire (\n\texample.com/a v1.1.0\n\texample.com/b v1.2.0\n)\n"))
	p.Requested(module.Version{Path: "example.com/a", Version: "v1.1.0"}, protocol.Mod, false)
	fmt.Println(<-fetched)
	// Output: example.com/b@v1.2.0
}
