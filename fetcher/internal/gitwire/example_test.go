package gitwire_test

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
)

// recorded is a server whose answers were written down.
type recorded struct{ io.Reader }

func (recorded) Write(p []byte) (int, error) { return len(p), nil }
func (recorded) Close() error                { return nil }
func (recorded) Said() string                { return "" }

// The references of a repository whose server is reached by a stream, such as ssh.
func ExampleClient() {
	const answer = "0043" + "0123456789abcdef0123456789abcdef01234567 HEAD\x00agent=git/2.45.2\n" +
		"003d" + "0123456789abcdef0123456789abcdef01234567 refs/heads/main\n" +
		"003e" + "0123456789abcdef0123456789abcdef01234567 refs/tags/v1.0.0\n" + "0000"
	c := &gitwire.Client{Link: gitwire.Streams{Dial: func(context.Context) (gitwire.Stream, error) {
		return recorded{strings.NewReader(answer)}, nil
	}}}
	_, err := c.List(context.Background(), []string{"refs/tags/"}, func(r gitwire.Ref) error {
		fmt.Printf("%s %s\n", r.Name, r.Target)
		return nil
	})
	fmt.Println(err)
	// Output:
	// refs/tags/v1.0.0 0123456789abcdef0123456789abcdef01234567
	// <nil>
}
