//go:build race

package fetcher_test

// race says that the race detector runs, which needs memory and time.
const race = true
