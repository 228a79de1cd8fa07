package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// thisModule is its path.
const thisModule = "github.com/athens-go/athens/examples/cluster"

// programs are the files of what a cluster runs.
type programs struct{ replica, queue, s3 string }

// build makes the programs that are needed. They are started again and again, so
// that "go run" would not do.
func build(ctx context.Context, dir string, o *options, stderr io.Writer) (p programs, err error) {
	stderr = &lines{w: stderr} // a go command and this function write to it
	root, err := goCommand(ctx, stderr, "", "list", "-f", "{{.Dir}}", thisModule)
	if err != nil {
		return p, fmt.Errorf("the cluster is run from a checkout: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p, err
	}
	fmt.Fprintln(stderr, "cluster: building the proxy and the queue; the first time takes some minutes")
	if _, err := goCommand(ctx, stderr, root, "build", "-o", dir, "./replica", "./queue"); err != nil {
		return p, err
	}
	p.replica, p.queue = filepath.Join(dir, "replica"), filepath.Join(dir, "queue")
	if o.bucket == "" {
		fmt.Fprintln(stderr, "cluster: building the S3 server; the first time takes some minutes")
		// Pinned in a module of its own, and kept in the go command's cache.
		p.s3, err = goCommand(ctx, stderr, filepath.Join(root, "..", "..", "tools", "servers"), "tool", "-n", "github.com/versity/versitygw/cmd/versitygw")
	}
	return p, err
}

// goCommand runs the go command in a folder and returns what it prints.
func goCommand(ctx context.Context, stderr io.Writer, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Stderr = dir, stderr
	if args[0] == "tool" {
		cmd.Env = append(os.Environ(), "GOWORK=off")
	}
	var out bytes.Buffer
	cmd.Stdout = &out
	began, done := time.Now(), make(chan struct{})
	var watch sync.WaitGroup
	defer watch.Wait()
	defer close(done)
	watch.Go(func() { // a build that takes long is not a build that hangs
		tick := time.NewTicker(15 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				fmt.Fprintf(stderr, "cluster: still building after %v\n", now.Sub(began).Round(time.Second))
			}
		}
	})
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(out.String()), nil
}
