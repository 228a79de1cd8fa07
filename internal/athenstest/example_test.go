package athenstest_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
)

// A handler whose version control is down serves what its store holds, and says 503
// to the rest.
func Example() {
	t := &testing.T{} // in a test, its own
	store, vcs, fills := athenstest.NewStore(t), athenstest.NewSource(t, "vcs"), &athenstest.Fills{}
	vcs.Add(athenstest.Example)
	handler, err := athens.NewHandler(store, &athens.Options{Fetcher: vcs, Fills: fills})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer handler.Shutdown(context.Background())

	vcs.Fail("", "down")
	w, _ := athenstest.Ask(context.Background(), handler, athenstest.InfoPath)
	fmt.Println(w.Code, vcs.Take())
	vcs.Fail("", "")
	w, _ = athenstest.Ask(context.Background(), handler, athenstest.InfoPath)
	fmt.Println(w.Code, vcs.Take(), store.Count("put"), fills.Take())
	// Output:
	// 503 [vcs.fetch]
	// 200 [vcs.fetch vcs.info vcs.mod] 1 [example.com/m@v1.0.0 zip after 0s]
}
