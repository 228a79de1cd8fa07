package gocmd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/athens-go/athens"
)

const (
	// maxStderr bounds what is kept of a command's standard error, in bytes.
	maxStderr = 64 << 10
	// maxModules bounds how many modules one answer may describe.
	maxModules = 16
	// watchEvery is how often the size of a command's folder is measured.
	watchEvery = 250 * time.Millisecond
	// waitDelay is how long processes that a finished command left running may keep
	// its output open.
	waitDelay = 5 * time.Second
)

// moduleJSON is a module as "go list -m -json" and "go mod download -json" print it.
type moduleJSON struct {
	Path     string
	Version  string
	Versions []string
	Time     time.Time
	Error    errorText
	Origin   *athens.Origin
	GoMod    string
	Info     string
	Zip      string
	Dir      string
}

// errorText is an error, which "go list" prints as an object and "go mod download" as a
// string.
type errorText string

func (c *errorText) UnmarshalJSON(data []byte) error {
	var text string
	if json.Unmarshal(data, &text) == nil {
		*c = errorText(text)
		return nil
	}
	var object struct{ Err string }
	err := json.Unmarshal(data, &object)
	*c = errorText(object.Err)
	return err
}

// errDisk means that a command used too much disk.
var errDisk = errors.New("the go command needs more disk than Options.MaxBytes allows")

// run runs the go command in a folder and returns the want answers that it prints about
// the module path. An error means that there was no answer; an answer can have an error
// of its own.
func (f *Fetcher) run(ctx context.Context, dir, path string, want int, args ...string) ([]moduleJSON, error) {
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	begun := time.Now()
	stdout, stderr, err := f.execute(ctx, dir, args)
	f.opts.Logger.Info("go command", "args", args, "ms", time.Since(begun).Milliseconds(), "error", err)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, err
	}
	list, bad := decodeModules(stdout, path, want)
	switch {
	case bad == nil:
		return list, nil
	case err != nil:
		f.opts.Logger.InfoContext(ctx, "go command failed", "args", args, "error", sanitizeForLog(string(stderr), dir))
		return nil, fmt.Errorf("%w: %s", err, sanitize(string(stderr), dir))
	}
	return nil, fmt.Errorf("unexpected answer of the go command: %w", bad)
}

// decodeModules decodes the JSON objects that a go command printed.
func decodeModules(stdout []byte, path string, want int) ([]moduleJSON, error) {
	var list []moduleJSON
	for in := json.NewDecoder(bytes.NewReader(stdout)); len(list) <= maxModules; {
		var p moduleJSON
		err := in.Decode(&p)
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		if p.Path != path {
			return nil, fmt.Errorf("it is about module %q", sanitize(p.Path, ""))
		}
		list = append(list, p)
	}
	if len(list) != want {
		return nil, fmt.Errorf("it is about %d modules instead of %d", len(list), want)
	}
	return list, nil
}

// execute runs the go command and everything that it starts as one process group, which
// is killed if ctx is done or the command takes too much time, disk or output.
func (f *Fetcher) execute(ctx context.Context, dir string, args []string) (stdout, stderr []byte, err error) {
	slow := &athens.UnavailableError{Source: "the go command", Err: fmt.Errorf("it took longer than %s, the limit that Options.Timeout sets: %w", f.opts.Timeout, context.DeadlineExceeded)}
	ctx, cancel := context.WithTimeoutCause(ctx, f.opts.Timeout, slow)
	defer cancel()
	ctx, kill := context.WithCancelCause(ctx)
	defer kill(nil)
	out := &limitedBuffer{max: f.opts.MaxOutputBytes, onFull: func() {
		kill(fmt.Errorf("the go command printed more than %d bytes, the limit that Options.MaxOutputBytes sets", f.opts.MaxOutputBytes))
	}}
	problems := &limitedBuffer{max: maxStderr, onFull: func() {}}
	cmd := exec.CommandContext(ctx, f.program, args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = filepath.Join(dir, "work"), append(tempEnv(f.env, dir), goprivateVar(ctx)), out, problems, waitDelay
	ownGroup(cmd)
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start the go command: %w", err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		f.watchDiskUse(ctx, dir, kill)
	}()
	err = cmd.Wait()
	cause := context.Cause(ctx)
	kill(nil)
	<-over
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // the command has ended; other processes may keep running
	case err != nil && cause != nil:
		err = cause
	}
	return out.buf.Bytes(), problems.buf.Bytes(), err
}

// watchDiskUse kills a command if its folder becomes too large.
func (f *Fetcher) watchDiskUse(ctx context.Context, dir string, kill context.CancelCauseFunc) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if sizeOf(dir) > f.opts.MaxBytes {
				kill(fmt.Errorf("%w: %d bytes", errDisk, f.opts.MaxBytes))
				return
			}
		}
	}
}

// sizeOf returns the size of all files below a folder.
func sizeOf(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if info, err := d.Info(); err == nil {
				size += info.Size()
			}
		}
		return nil
	})
	return size
}

// limitedBuffer keeps the first max bytes that are written to it, and calls onFull once if
// there are more.
type limitedBuffer struct {
	buf    bytes.Buffer
	max    int64
	onFull func()
	full   bool
}

func (c *limitedBuffer) Write(p []byte) (int, error) {
	room := max(c.max-int64(c.buf.Len()), 0)
	if int64(len(p)) > room && !c.full {
		c.full = true
		c.onFull()
	}
	c.buf.Write(p[:min(int64(len(p)), room)])
	return len(p), nil
}

// readAtMost reads a file of at most that many bytes that the go command wrote.
func readAtMost(name string, most int64) ([]byte, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s has more than %d bytes, the fixed limit", filepath.Base(name), most)
	}
	return data, err
}
