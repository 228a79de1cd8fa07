package protocol

import "strings"

// LoopError says that a request came back to a server that it had come through. An
// athens.InvalidError wraps it.
type LoopError struct {
	Via string // the chain of servers, as in a Via header
}

// The text of a LoopError, before and after its chain.
const (
	loopBefore = "proxy loop: the servers "
	loopAfter  = " ask each other"
)

func (e *LoopError) Error() string { return loopBefore + e.Via + loopAfter }

// LoopIn returns the LoopError that the text of another server's answer tells of, or nil.
func LoopIn(text string) *LoopError {
	_, rest, found := strings.Cut(text, loopBefore)
	chain, _, ended := strings.Cut(rest, loopAfter)
	if !found || !ended {
		return nil
	}
	return &LoopError{Via: chain}
}
