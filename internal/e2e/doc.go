// Package e2e holds the tests in which everything is real: the programs of examples/
// as processes, repositories served by git, the go command as a client, disks that are
// full and servers that are killed. It has no code of its own.
//
// testdata/flows has a script for each flow that Athens exists for, with the calls that
// each step must lead to; docs/flows.md is made from them:
//
//	go test -run TestFlows -update ./internal/e2e
package e2e
