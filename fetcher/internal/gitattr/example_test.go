package gitattr_test

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/athens-go/athens/fetcher/internal/budget"
	"github.com/athens-go/athens/fetcher/internal/gitattr"
)

func Example() {
	job := budget.New(64<<20, 1<<30).Start(context.Background())
	defer job.End()
	file := func(text string) gitattr.Source {
		return func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
	}
	attributes := gitattr.New(job)
	fmt.Println(attributes.Add("", "hash of the file", file("*.txt text eol=crlf\n")))
	fmt.Println(attributes.Add("raw", "another hash", file("* -text\n")))
	for _, name := range []string{"a.txt", "raw/a.txt"} {
		conversion, err := attributes.Conversion(name)
		if err != nil {
			fmt.Println(err)
			return
		}
		converted, err := conversion.Open(job, file("one\ntwo\n"), "")
		if err != nil {
			fmt.Println(err)
			return
		}
		out, err := io.ReadAll(converted)
		fmt.Printf("%s: %q %v\n", name, out, err)
	}
	// Output:
	// <nil>
	// <nil>
	// a.txt: "one\r\ntwo\r\n" <nil>
	// raw/a.txt: "one\ntwo\n" <nil>
}
