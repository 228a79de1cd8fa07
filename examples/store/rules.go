package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/redirect/rules"
)

// explainRules says what a rules file means for a version, and because of which line.
func explainRules(_ context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	private := flags.String("private", "", "the `patterns` of the server's -private, which come before the first line; empty means none")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		return errors.New("want a rules file and MODULE@VERSION")
	}
	read, err := rules.Read(flags.Arg(0))
	if err != nil {
		return err
	}
	if read, err = read.WithPrivate(*private); err != nil {
		return err
	}
	path, version, _ := strings.Cut(flags.Arg(1), "@")
	if err := module.CheckPath(path); err != nil {
		return err
	}
	if version != "" && module.CanonicalVersion(version) != version {
		return fmt.Errorf("%s is no canonical version, such as v1.2.3", version)
	}
	_, err = io.WriteString(stdout, read.Explain(module.Version{Path: path, Version: version}))
	return err
}
