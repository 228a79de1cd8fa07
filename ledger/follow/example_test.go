package follow_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/ledger/follow"
	"github.com/athens-go/athens/ledger/ledgertest"
)

func Example() {
	dir, err := os.MkdirTemp("", "follow")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	key, err := ledger.NewKey("sum.corp.example")
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := ledger.New(filepath.Join(dir, "primary"), key, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	// What speaks to the primary is a redirect.Upstream; here it is in this process.
	f, err := follow.New(filepath.Join(dir, "follower"), l.VerifierKey(), &primary{Ledger: l}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, sample := context.Background(), ledgertest.NewSample(1, "")
	_, err = sample.Add(ctx, l)
	fmt.Println(err, f.Poll(ctx), f.Status().Records, "record")

	// The primary is lost: the copy goes on as the log.
	fmt.Println(l.Close(), f.Close())
	l, err = ledger.New(filepath.Join(dir, "follower"), key, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(sample.Proved(ctx, l), l.Close())
	// Output:
	// <nil> <nil> 1 record
	// <nil> <nil>
	// <nil> <nil>
}
