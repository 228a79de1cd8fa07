package warm_test

import (
	"context"
	"fmt"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill/warm"
)

// shelf is a Target that prints what it is to hold.
type shelf struct{}

func (shelf) Fill(_ context.Context, f athens.Fill) (warm.Filled, error) {
	if f.Module.Path == "gone.example/mod" {
		return warm.Filled{}, &athens.MissingError{Path: f.Module.Path, Query: f.Module.Version, Err: fmt.Errorf("no such repository")}
	}
	fmt.Println("hold", f.Module, "zip:", f.Zip)
	return warm.Filled{Bytes: 1000}, nil
}

func (shelf) Get(context.Context, string) ([]byte, error) { return []byte("v1.0.0\n"), nil }

// A list of modules is filled; what fails is in the summary.
func Example() {
	plan := warm.NewPlan()
	if err := plan.AddList("modules", strings.NewReader("example.com/mod v1.2.3\n")); err != nil {
		fmt.Println(err)
	}
	if err := plan.AddVersion(module.Version{Path: "gone.example/mod", Version: "v1.0.0"}); err != nil {
		fmt.Println(err)
	}
	summary, err := warm.Run(context.Background(), shelf{}, plan, nil)
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(summary.Versions, "held,", summary.Bytes, "bytes")
	for _, failure := range summary.Failed {
		fmt.Println(failure.Module, "failed:", failure.What)
	}
	// Output:
	// hold example.com/mod@v1.2.3 zip: true
	// 1 held, 1000 bytes
	// gone.example/mod@v1.0.0 failed: zip
}
