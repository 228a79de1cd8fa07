package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/athens-go/athens/serve/auth"
)

// makeToken adds a token to a file and prints its secret, which is nowhere else.
func makeToken(_ context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	file := flags.String("file", "", "add a line to this token `file`, which is created if it does not exist; empty is an error")
	name := flags.String("name", "", "the `name` of the token, as the log shows it, different from all others; empty is an error")
	rights := flags.String("rights", "read", "what the token may do: some of `read,publish,refresh,admin`")
	paths := flags.String("paths", "*", "the `patterns` of the modules that the token is for, as in GOPRIVATE")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("%q is no flag", flags.Arg(0))
	case *file == "":
		return errors.New("-file is missing")
	}
	may, err := auth.ParseRights(*rights)
	if err != nil {
		return err
	}
	secret, line, err := auth.NewToken(*name, *paths, may)
	if err != nil {
		return err
	}
	before, err := os.ReadFile(*file)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if len(before) > 0 && !bytes.HasSuffix(before, []byte("\n")) {
		line = "\n" + line
	}
	line += "\n"
	if _, err := auth.Parse(*file, io.MultiReader(bytes.NewReader(before), bytes.NewReader([]byte(line)))); err != nil {
		return err // such as a name that another line has
	}
	out, err := os.OpenFile(*file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out, line)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, secret)
	return err
}
