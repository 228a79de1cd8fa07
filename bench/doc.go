// Package bench measures the servers as their users meet them: as processes, with
// the real go command before them and a slow upstream behind them, beside what
// they compete with. It is a test, because what it is made of is for tests only:
//
//	make bench
//	make bench BENCHFLAGS="-quick"
//	make bench BENCHFLAGS="-peer 'other=/path/to/other -listen {addr} -upstream {upstream} -dir {dir}'"
//
// prints a table of ratios, each with its target, and fails if one is missed. An
// ordinary "go test" runs the same measurements with tiny counts and judges no
// times. docs/performance.md has the table of a quiet machine, and says how to
// read it.
//
// Everything runs on loopback, with stores and module caches in memory where the
// system has a folder for that, and is bounded in count and time. What is compared
// runs in turns, and the median counts. Client, server and upstream share the
// machine, so CPU time stands beside wall time.
package bench
