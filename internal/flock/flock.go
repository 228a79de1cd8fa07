// Package flock locks files against other processes, with flock(2). A lock belongs
// to the open file, so it also excludes a second open of the file in the same process.
// It ends with the process, however that ends: a process that can take the lock knows
// that the owner is dead.
//
// On systems without such locks, [Supported] is false and every lock is free.
package flock
