package server

import (
	"fmt"
	"net/http"

	"github.com/athens-go/athens/serve/goimport"
)

// ServeFlags defines -serve and -serve-url.
func (f *Flags) ServeFlags() {
	f.StringVar(&f.serve, "serve", "", "answer go commands that use no proxy (?go-get=1) for these `patterns` of module paths, such as corp.example, whose host\nleads to this server: the modules come from here; empty means none")
	f.StringVar(&f.serveURL, "serve-url", "", "send them to this `URL`; empty means the host of the request, by https if the request came so")
}

// goImports puts the pages of -serve before a handler, if it is given.
func (p *Parts) goImports(next http.Handler) (http.Handler, error) {
	f := p.Flags
	if f.serve == "" {
		if f.serveURL != "" {
			return nil, fmt.Errorf("-serve-url needs -serve, the module paths to answer for")
		}
		return next, nil
	}
	pages, err := goimport.New(f.serve, &goimport.Options{URL: f.serveURL, Prefix: f.prefix})
	if err != nil {
		return nil, fmt.Errorf("-serve: %w", err)
	}
	return pages.Front(next), nil
}
