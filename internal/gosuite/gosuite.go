// Package gosuite runs the go command's own module tests with a proxy of this
// project between the go command and the module server that these tests bring
// along.
//
// The tests are the scripts $GOROOT/src/cmd/go/testdata/script/mod_*.txt, which
// "go test cmd/go" runs. An overlay puts front.go.txt of testdata into that package
// and has its module server call it: every request for a module then goes to an
// Athens server, whose upstream is the original server.
//
//	ATHENS_GOSUITE=1 go test ./internal/gosuite
//
// runs a part of the scripts, always the same, and with ATHENS_FULL=1 all of them.
// ATHENS_SCRIPTS names others: a list of expressions, with commas between them.
package gosuite
