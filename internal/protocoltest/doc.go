// Package protocoltest holds the tests of what a handler answers, over fakes
// (internal/athenstest) and in the time of testing/synctest, so that none of them waits.
// It has no code of its own.
//
// Each file of testdata/protocol is a script of requests and what must come of them;
// beside them are tests of concurrency, faults, lifecycles, streams and raw requests.
package protocoltest
