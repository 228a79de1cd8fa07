//go:build !linux

package main

// watch notices nothing here.
func watch(string) (func() ([]string, error), error) {
	return func() ([]string, error) { return nil, nil }, nil
}
