package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strings"

	gocloud "gocloud.dev/blob"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/examples/internal/command"
	"github.com/athens-go/athens/examples/internal/storetool"
	"github.com/athens-go/athens/storage"
)

const place = "bucket's `URL`, as for -bucket"

// commands are what "replica store" can do.
func commands() map[string]storetool.Command {
	buckets := storetool.Tool{Place: place, Open: openBucket, Make: makeStore, Folder: foreign}
	all := buckets.Commands()
	all["verify"] = storetool.Command{Run: verify}
	return all
}

// tool runs a command of "replica store". Like examples/store the program then exits with 1 if
// something is damaged or lacking, and with 2 if the command failed.
func tool(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	err := storetool.Run(ctx, "replica store", commands(), args, stdout, stderr)
	if err == nil || errors.Is(err, storetool.ErrDamaged) || errors.Is(err, flag.ErrHelp) {
		return err
	}
	fmt.Fprintln(stderr, "replica store:", err)
	return &command.UsageError{Err: err}
}

// openBucket opens the store in a bucket.
func openBucket(ctx context.Context, url string) (storetool.Store, func() error, error) {
	if !strings.Contains(url, "://") {
		return nil, nil, fmt.Errorf("%s is no bucket's URL; for a folder use examples/store", url)
	}
	store, err := blob.OpenURL(ctx, url, nil)
	if err != nil {
		return nil, nil, err
	}
	return store, store.Close, nil
}

// makeStore opens the store in a bucket, or in a folder: what another program has in a bucket can
// be imported into either.
func makeStore(ctx context.Context, dir string) (storetool.Store, func() error, error) {
	if strings.Contains(dir, "://") {
		return openBucket(ctx, dir)
	}
	store, err := storage.NewDisk(dir, &storage.Options{FileCacheBytes: -1}) // each is read once
	if err != nil {
		return nil, nil, err
	}
	return store, func() error { return nil }, nil
}

// foreign opens the bucket of another program.
func foreign(ctx context.Context, url string) (fs.FS, func() error, error) {
	bucket, err := gocloud.OpenBucket(ctx, url)
	if err != nil {
		return nil, nil, err
	}
	bucket.SetIOFSCallback(func() (context.Context, *gocloud.ReaderOptions) { return ctx, nil })
	return bucket, bucket.Close, nil
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
		return storetool.ErrDamaged
	}
	return nil
}
