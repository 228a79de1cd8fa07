package fetcher_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
)

// gitOnly is a Fetcher that reads git and nothing else.
type gitOnly struct{ athens.Fetcher }

func (gitOnly) Versions(_ context.Context, path string) ([]string, error) {
	return nil, fmt.Errorf("%s is not in a git repository: %w", path, errors.ErrUnsupported)
}

// anyVCS is a Fetcher that reads every kind of repository.
type anyVCS struct{ athens.Fetcher }

func (anyVCS) Versions(context.Context, string) ([]string, error) {
	return []string{"v1.0.0", "v1.1.0"}, nil
}

// First asks the next Fetcher only for a kind of repository that the one before can't
// read. Usually these are a *fetcher.Fetcher and a *gocmd.Fetcher.
func ExampleFirst() {
	both := fetcher.First(gitOnly{}, anyVCS{})
	fmt.Println(both.Versions(context.Background(), "example.com/in-mercurial"))
	// Output: [v1.0.0 v1.1.0] <nil>
}
