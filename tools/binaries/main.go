// Command binaries builds the servers and the tool of a checkout for the platforms that
// releases are for, each as one static file, with a bill of materials beside it and a
// file of checksums:
//
//	go -C tools/binaries run . -tree CHECKOUT -out FOLDER
//
// The same commit and the same Go release make the same bytes, wherever and whenever they
// are built. It is a module of its own so that nobody who uses Athens gets what writes
// bills of materials.
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

// programs are the packages that releases have binaries of.
var programs = []string{
	"./examples/proxy", "./examples/registry", "./examples/store", "./examples/publish", "./examples/cluster/replica",
}

// targets are the platforms, as the go command names them.
var targets = []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}

func main() {
	tree := flag.String("tree", ".", "build the checkout in this `folder`")
	out := flag.String("out", "", "write the files into this `folder`, which must be empty or new")
	only := flag.String("targets", strings.Join(targets, ","), "build for these `platforms`, separated by commas")
	names := flag.String("programs", strings.Join(programs, ","), "build these `packages`, separated by commas")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*tree, *out, strings.Split(*only, ","), strings.Split(*names, ",")); err != nil {
		fmt.Fprintln(os.Stderr, "binaries:", err)
		os.Exit(1)
	}
}
