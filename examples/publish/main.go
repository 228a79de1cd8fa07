// Command publish uploads a version of a module to a registry that takes uploads (-publish):
//
//	export ATHENS_TOKEN=…
//	publish -registry https://go.corp.example v1.2.3
//
// The module is the one whose go.mod is in the current folder, or in that of -dir. In a git
// work tree the zip is made of the commit that is checked out, as the go command would make
// it, and uncommitted changes are an error; elsewhere it is made of the files.
//
// The two lines of go.sum go to stdout, what happens meanwhile to stderr. A failed upload is
// tried again: to publish the same content twice changes nothing. The exit status is 0 if the
// registry has the version with these hashes, 1 if not, and 2 if the flags are wrong.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/athens-go/athens/examples/internal/command"
)

func main() { command.Main(run) }

// tokenVariable is the environment variable that has the secret.
const tokenVariable = "ATHENS_TOKEN"

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("publish", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: publish -registry URL [flags] VERSION")
		flags.PrintDefaults()
	}
	registry := flags.String("registry", "", "upload to the registry at this `URL`; empty is an error")
	secret := flags.String("token", "", "present this `secret`, which other users of this machine can see in the list of processes;\nempty means that of -token-file or "+tokenVariable)
	secretFile := flags.String("token-file", "", "present the secret in this `file`; empty means that of "+tokenVariable)
	dir := flags.String("dir", ".", "publish the module in this `folder`")
	dirty := flags.Bool("allow-dirty", false, "publish the files as they are, ignored ones too, also from a git work tree with uncommitted changes;\nnot given means that such changes are an error")
	insecure := flags.Bool("insecure", false, "send the secret by plain http to another machine; not given means that this is an error")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return err
	} else if err != nil {
		return &command.UsageError{Err: err}
	}
	up, m, err := prepare(*registry, *dir, flags.Args(), *insecure)
	if err == nil {
		up.secret, err = token(*secret, *secretFile)
	}
	if err != nil {
		fmt.Fprintln(stderr, "publish:", err)
		return &command.UsageError{Err: err}
	}
	up.report = newReport(stderr)
	zip, err := pack(ctx, m, *dir, *dirty)
	if err != nil {
		return err
	}
	defer zip.remove()
	up.report.line("%s: a zip of %d bytes from %s", m, zip.size, zip.from)
	if err := up.send(ctx, m, zip); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, strings.Join(zip.sums, "\n"))
	return err
}
