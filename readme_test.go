package athens_test

// README: begin
import (
	"context"
	"errors"
	"path/filepath"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/serve"
	"github.com/athens-go/athens/storage"
)

func serveModules(ctx context.Context, addr, dir, registry string) error {
	store, err1 := storage.NewDisk(dir, nil)
	git, err2 := fetcher.New(filepath.Join(dir, ".git-cache"), nil)
	upstream, err3 := redirect.New(registry, nil)
	fills, err4 := fill.Open(filepath.Join(dir, ".fills"), nil)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	defer fills.Close()
	// Modules that GOPRIVATE names never reach the registry; Options.Private can name others.
	handler, err := athens.NewHandler(store, &athens.Options{Fetcher: git, Upstream: upstream, Fills: fills})
	if err != nil {
		return err
	}
	return serve.Run(ctx, handler, &serve.Options{Addr: addr, Fills: fills, Ready: store.Writable})
}

// README: end
