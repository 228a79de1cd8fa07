package gitattr_test

import (
	"fmt"

	"github.com/athens-go/athens/fetcher/internal/gitattr"
)

func Example() {
	attributes := gitattr.New()
	attributes.Add("", "*.txt text eol=crlf\n")
	attributes.Add("raw", "* -text\n")
	for _, file := range []string{"a.txt", "raw/a.txt"} {
		out, err := attributes.Conversion(file).Apply([]byte("one\ntwo\n"), "")
		fmt.Printf("%s: %q %v\n", file, out, err)
	}
	// Output:
	// a.txt: "one\r\ntwo\r\n" <nil>
	// raw/a.txt: "one\ntwo\n" <nil>
}
