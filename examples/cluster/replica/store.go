package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/examples/internal/storetool"
)

const place = "bucket's `URL`, as for -bucket"

// commands are what "replica store" can do.
func commands() map[string]storetool.Command {
	buckets := storetool.Tool{Place: place, Open: func(ctx context.Context, url string) (storetool.Store, func() error, error) {
		store, err := blob.OpenURL(ctx, url, nil)
		if err != nil {
			return nil, nil, err
		}
		return store, store.Close, nil
	}}
	all := buckets.Commands()
	all["verify"] = storetool.Command{Run: verify}
	return all
}

// verify reads each version of a bucket, and prints those that are damaged.
func verify(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	url := flags.String("dir", "", "check the store in this "+place+"; empty is an error")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *url == "" || flags.NArg() > 0 {
		return errors.New("want -dir, and nothing else")
	}
	store, err := blob.OpenURL(ctx, *url, &blob.Options{Unprobed: true})
	if err != nil {
		return err
	}
	defer store.Close()
	checked, damaged := 0, 0
	for m, err := range store.All(ctx) {
		if err == nil {
			err = store.Verify(ctx, m)
		}
		if wrong, ok := errors.AsType[*athens.InvalidError](err); ok {
			damaged++
			if _, err := fmt.Fprintln(stdout, wrong); err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		checked++
	}
	if _, err := fmt.Fprintf(stdout, "%d versions, %d damaged\n", checked, damaged); err != nil {
		return err
	}
	if damaged > 0 {
		return errors.New("something is damaged")
	}
	return nil
}
