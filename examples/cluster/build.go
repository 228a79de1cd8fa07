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

// thisModule is the path of the module that this program is in.
const thisModule = "github.com/athens-go/athens/examples/cluster"

// programs are the files of the programs that a cluster runs.
type programs struct{ replica, queue, s3 string }

// build builds the programs that are needed. A cluster starts them again and again, so it
// can't use "go run".
func build(ctx context.Context, dir string, o *options, stderr io.Writer) (p programs, err error) {
	stderr = &lines{w: stderr} // the go command and this function write to it
	root, err := goCommand(ctx, stderr, "", "list", "-f", "{{.Dir}}", thisModule)
	if err != nil {
		return p, fmt.Errorf("run the cluster from a checkout of this project: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return p, err
	}
	fmt.Fprintln(stderr, "cluster: building the proxy and the queue; the first build takes some minutes")
	if _, err := goCommand(ctx, stderr, root, "build", "-o", dir, "./replica", "./queue"); err != nil {
		return p, err
	}
	p.replica, p.queue = filepath.Join(dir, "replica"), filepath.Join(dir, "queue")
	if o.bucket == "" {
		fmt.Fprintln(stderr, "cluster: building the S3 server; the first build takes some minutes")
		// A module of its own pins the server. The binary is in the go command's cache.
		p.s3, err = goCommand(ctx, stderr, filepath.Join(root, "..", "..", "tools", "servers"), "tool", "-n", "github.com/versity/versitygw/cmd/versitygw")
	}
	return p, err
}

// goCommand runs the go command in a folder and returns its output.
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
	watch.Go(func() { // shows that a long build does not hang
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
