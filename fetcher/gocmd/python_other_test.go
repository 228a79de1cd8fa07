//go:build !unix

package gocmd_test

// preload does nothing: a process can't give its files to another one here.
func (w *workshop) preload(string) {}

func runForked(string) int { return 255 }
