package fetchertest_test

import (
	"errors"
	"fmt"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/fetchertest"
)

// A case can be checked without a test, here on a Fetcher that can't even be
// opened.
func ExampleCases() {
	h := fetchertest.Harness{
		New:     func() (athens.Fetcher, error) { return nil, errors.New("no disk") },
		Modules: []fetchertest.Module{{Path: "corp.test/m", Versions: []string{"v1.0.0"}}},
	}
	for _, c := range fetchertest.Cases()[:2] {
		fmt.Printf("%s: %s\n\t%v\n", c.Name, c.Promise, c.Check(h))
	}
	// Output:
	// versions: Versions lists what is tagged: canonical, without pseudo-versions, in order; without tags, nothing
	// 	open: no disk
	// resolve: Resolve turns a query into the version it means, with its time
	// 	open: no disk
}
