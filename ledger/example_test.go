package ledger_test

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/ledger"
)

func Example() {
	dir, err := os.MkdirTemp("", "ledger")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	key, err := ledger.NewKey("sum.corp.example") // kept as a secret
	if err != nil {
		fmt.Println(err)
		return
	}
	l, err := ledger.New(dir, key, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	m := module.Version{Path: "corp.example/m", Version: "v1.0.0"}
	id, err := l.Add(context.Background(), m, "h1:"+strings.Repeat("A", 43)+"=", "h1:"+strings.Repeat("B", 43)+"=")
	fmt.Println(id, err)
	_, err = l.Add(context.Background(), m, "h1:"+strings.Repeat("C", 43)+"=", "h1:"+strings.Repeat("B", 43)+"=")
	fmt.Println(err)
	// Output:
	// 0 <nil>
	// corp.example/m@v1.0.0: conflict: the .zip held is h1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=, the source now has h1:CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC=
}
