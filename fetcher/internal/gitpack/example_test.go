package gitpack_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/athens-go/athens/fetcher/internal/budget"
	"github.com/athens-go/athens/fetcher/internal/gitpack"
	"github.com/athens-go/athens/internal/packtest"
)

func ExampleUnpack() {
	dir, err := os.MkdirTemp("", "objects-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	var maker packtest.Maker
	maker.Object(packtest.Blob, []byte("hello\n"))
	data := maker.Pack()
	file, err := os.Create(filepath.Join(dir, "new.pack"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer file.Close()
	if _, err := file.Write(data); err != nil {
		fmt.Println(err)
		return
	}
	job := budget.New(64<<20, 1<<30).Start(context.Background())
	defer job.End()
	pack, err := gitpack.Unpack(job, file, int64(len(data)), dir, nil, gitpack.DefaultLimits())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("pack-%x\n", pack.Sum())
	fmt.Println(pack.WriteIndex(filepath.Join(dir, "new.idx")))
	// Output:
	// pack-007b4413ed03c6c9a5aa33859e2ae7d4d74449fc
	// <nil>
}
