package server

import (
	"net/http"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve"
	"github.com/athens-go/athens/serve/auth"
)

// useTokens opens the file of -tokens.
func (p *Parts) useTokens() error {
	if p.Flags.Tokens == "" {
		return nil
	}
	tokens, err := auth.Open(p.Flags.Tokens, &auth.Options{Logger: p.Log})
	if err != nil {
		return err
	}
	p.tokens = tokens
	p.background = append(p.background, tokens.Run)
	p.reloads = append(p.reloads, tokens.Reload)
	return nil
}

// Guard puts the tokens and the limits of clients, if there are any, before a handler.
func (p *Parts) Guard(next http.Handler) http.Handler {
	next = p.limited(next)
	if p.tokens == nil {
		return next
	}
	return p.tokens.Require(next)
}

// Guarded reports whether clients need a token.
func (p *Parts) Guarded() bool { return p.tokens != nil }

// front is what clients reach when an example has no mux of its own.
func (p *Parts) front(handler *athens.Handler, page http.Handler) http.Handler {
	return p.Guard(serve.Front(handler, p.Health, page))
}
