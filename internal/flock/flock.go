// Package flock locks files against other processes, with flock(2). A lock
// belongs to the open file, so that it also excludes another opening of the same
// file in the same process, and ends with the process however that ends: whoever
// can take it knows that its owner is dead.
//
// Where a system has no such locks, [Supported] is false and each is free.
package flock
