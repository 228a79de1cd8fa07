package main

import (
	"context"
	"errors"
	"io"
	"log/slog"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/examples/internal/server"
	"github.com/athens-go/athens/redirect"
)

// repairFrom returns where damaged versions come from again: the server at url, but for
// what is private by the flags.
func repairFrom(ctx context.Context, url string, f *server.Flags, stderr io.Writer) (func(module.Version) athens.Fetcher, error) {
	rules, err1 := f.Policy()
	upstream, err2 := redirect.New(url, &redirect.Options{Logger: slog.New(slog.NewTextHandler(stderr, nil))})
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	return func(m module.Version) athens.Fetcher {
		if route, _ := rules.Route(ctx, m); route.Private {
			return nil
		}
		return upstream
	}, nil
}
