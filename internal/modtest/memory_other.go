//go:build !linux

package modtest

// memoryDir returns "": nothing is known of file systems in memory here.
func memoryDir() string { return "" }
