//go:build !race

package modtest

// RaceEnabled says whether the race detector runs. It takes memory and time, and makes a
// sync.Pool forget at random.
const RaceEnabled = false
