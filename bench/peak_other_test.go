//go:build !linux

package bench_test

import "os"

// peakOf is nothing: only Linux runs the measurements.
func peakOf(*os.ProcessState) int64 { return 0 }
