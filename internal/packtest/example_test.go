package packtest_test

import (
	"fmt"

	"github.com/athens-go/athens/internal/packtest"
)

func ExampleMaker() {
	var pack packtest.Maker
	blob := pack.Object(packtest.Blob, []byte("hello\n"))
	fmt.Printf("%x %q\n", blob, pack.Pack()[:4])
	// Output: ce013625030ba8dba906f756967f9e9ca394464a "PACK"
}
