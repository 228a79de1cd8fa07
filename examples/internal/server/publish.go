package server

import (
	"errors"
	"net/http"
	"strings"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/auth"
	"github.com/athens-go/athens/serve/publish"
)

// PublishFlag defines -publish.
func (f *Flags) PublishFlag() {
	f.StringVar(&f.published, "publish", "", "take versions of modules that match these `patterns` (as in GOPRIVATE) from clients with the right publish in -tokens,\nand from nowhere else: they are not looked for in version control; empty means none")
}

// usePublished puts -publish into force.
func (p *Parts) usePublished() error {
	if p.Flags.published != "" && p.tokens == nil {
		return errors.New("-publish needs -tokens, a file that says who may publish")
	}
	if follow := p.Flags.Lookup("follow"); p.Flags.published != "" && follow != nil && follow.Value.String() != "" {
		return errors.New("-publish and -follow exclude each other: versions are published at the registry that is followed")
	}
	p.Options.Published = p.Flags.published
	return nil
}

// uploads puts the requests that publish versions before a handler, if -publish is given.
func (p *Parts) uploads(handler *athens.Handler, next http.Handler) (http.Handler, error) {
	if p.Flags.published == "" {
		return next, nil
	}
	api, err := publish.New(handler, &publish.Options{
		Publish: func(r *http.Request, path string) (string, error) { return p.tokens.Authorize(r, auth.Publish, path) },
		Changed: p.changed(),
		Logger:  p.Log,
	})
	if err != nil {
		return nil, err
	}
	return api.Front(next), nil
}

// pasteUnverified are the patterns of modules that no public checksum database knows, for
// the line that clients paste.
func (p *Parts) pasteUnverified() string {
	return strings.Trim(p.pastePatterns()+","+p.Flags.published, ",")
}
