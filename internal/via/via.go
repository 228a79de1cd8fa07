// Package via carries the chain of servers that a question has come through,
// so that servers that ask each other in a circle notice it at once.
//
// A server marks what it asks of others with a Via header (RFC 9110, section
// 7.6.3) of the servers so far and itself.
package via

import "context"

type key struct{}

// With returns a context that carries the chain, in the form of a Via header.
func With(ctx context.Context, chain string) context.Context {
	return context.WithValue(ctx, key{}, chain)
}

// From returns the chain that ctx carries, or "".
func From(ctx context.Context) string {
	chain, _ := ctx.Value(key{}).(string)
	return chain
}
