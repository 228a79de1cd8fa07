package fill_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
)

func Example() {
	fills, err := fill.New(&fill.Options{MinRetryDelay: time.Millisecond})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()

	// Two clients miss the same version: one needs its .mod, one its zip.
	m := module.Version{Path: "example.com/mod", Version: "v1.0.0"}
	for _, zip := range []bool{false, true} {
		if err := fills.Schedule(ctx, athens.Fill{Module: m, Zip: zip}, 10*time.Millisecond); err != nil {
			fmt.Println(err)
		}
	}

	// A server runs this beside itself: go fills.Run(ctx, handler.Fill).
	tries := 0
	err = fills.Run(ctx, func(_ context.Context, f athens.Fill) error {
		if tries++; tries == 1 {
			return errors.New("the registry is being restarted")
		}
		stop() // this example has no more to do
		return nil
	})
	done := fills.Status().Done[0]
	fmt.Println(err, done.Path, done.Version, done.Zip, done.Attempts)
	// Output: <nil> example.com/mod v1.0.0 true 2
}

// What one process leaves undone the next one does.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "fills")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	fills, err := fill.Open(dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	m := module.Version{Path: "example.com/mod", Version: "v1.0.0"}
	err = fills.Schedule(context.Background(), athens.Fill{Module: m, Zip: true}, time.Hour)
	fmt.Println(err, fills.Close())

	fills, err = fill.Open(dir, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range fills.Status().Pending {
		fmt.Println(e.Path, e.Version, e.Zip, time.Until(e.Due).Round(time.Hour))
	}
	fmt.Println(fills.Close())
	// Output:
	// <nil> <nil>
	// example.com/mod v1.0.0 true 1h0m0s
	// <nil>
}
