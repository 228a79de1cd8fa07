package budget_test

import (
	"context"
	"fmt"

	"github.com/athens-go/athens/fetcher/internal/budget"
)

func Example() {
	job := budget.New(64<<20, 1<<30).Start(context.Background())
	defer job.End()
	fmt.Println(job.Grow(1<<20), job.Step(1000))
	fmt.Println(job.Grow(1 << 30))
	// Output:
	// <nil> <nil>
	// its content needs more than 45298484 bytes of memory; Options.MaxWorkBytes sets this limit
}
