// Package command starts and ends the examples: Main runs one until a signal, and says by the
// exit status how it went. It links little, so that "go run" of a program that needs no more
// begins after seconds.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/athens-go/athens/serve"
)

// Main runs a program until SIGINT or SIGTERM. It exits with 1 if the program fails, and with 2
// if its flags are wrong. A second signal ends the process at once. A program that "go run" has
// started also ends after its "go run" has.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) {
	ctx, stop := serve.NotifyContext(context.Background())
	defer stop()
	ctx, forget := withGoRun(ctx)
	defer forget()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp), errors.Is(err, ErrVersion):
	case errors.As(err, new(*UsageError)):
		os.Exit(2) // the flag package has said why
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// UsageError says that the command line is wrong.
type UsageError struct{ Err error }

func (e *UsageError) Error() string { return e.Err.Error() }
func (e *UsageError) Unwrap() error { return e.Err }

// ErrVersion says that the program has printed its version, because of -version.
var ErrVersion = errors.New("the version was printed")
