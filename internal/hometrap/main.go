// Command hometrap runs a command with a home that is a trap, and fails if the command, or a
// process that it starts, has read or changed anything in there:
//
//	go run ./internal/hometrap go test ./fetcher
//
// The home has the files that programs look for: settings of git, ssh, the go command and
// others, credentials, and caches. Each of them breaks a program that uses it. So a test that
// does not isolate itself (see modtest.Main) fails here, and not on the machine of a developer
// who has such a file. Go's own settings and caches are passed on.
//
// On Linux the command notices each file that is opened, elsewhere only changed files.
package main

import (
	"errors"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: hometrap COMMAND [ARGUMENT...]")
		os.Exit(2)
	}
	touched, err := run(os.Args[1:])
	for _, what := range touched {
		fmt.Fprintln(os.Stderr, "hometrap: the command", what)
	}
	if len(touched) > 0 && err == nil {
		err = errors.New("tests must not use their user's home: give their package a TestMain that calls modtest.Main")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "hometrap:", err)
		os.Exit(1)
	}
}
