package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve"
	"github.com/athens-go/athens/serve/auth"
	"github.com/athens-go/athens/serve/operate"
)

// Jobs verifies secrets that no token file has, by a file of its own.
type Jobs interface {
	Verify(ctx context.Context, secret string) (*auth.Identity, error)
	Run(ctx context.Context) // reads the file again when it changes
	Reload() error
}

// useTokens opens the file of -tokens.
func (p *Parts) useTokens() error {
	if p.Flags.Tokens == "" && p.Flags.Jobs == nil {
		return nil
	}
	o := &auth.Options{MaxWrongLogins: p.Flags.clients.logins, Logger: p.Log}
	if o.MaxWrongLogins == 0 {
		o.MaxWrongLogins = -1 // zero would mean the default
	}
	if jobs := p.Flags.Jobs; jobs != nil {
		o.Verify = jobs.Verify
		p.background = append(p.background, jobs.Run)
		p.reloads = append(p.reloads, jobs.Reload)
	}
	tokens, err := auth.Open(p.Flags.Tokens, o)
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

// Front is what clients reach, with the probes unless health is nil. With tokens or secrets
// of push events, it has the requests of operators and CI jobs.
func (p *Parts) Front(handler *athens.Handler, health *serve.Health) (http.Handler, error) {
	root, err := p.goImports(p.Guard(p.Events(serve.Front(handler, health, p.Page()))))
	if err == nil {
		root, err = p.uploads(handler, root)
	}
	if err != nil {
		return nil, err
	}
	if p.tokens == nil && p.Flags.Hooks == "" {
		return root, nil
	}
	o := &operate.Options{Logger: p.Log, Changed: p.changed()}
	if p.tokens != nil {
		o.Authorize = func(r *http.Request, right, path string) (string, error) {
			rights, err := auth.ParseRights(right)
			if err != nil {
				return "", err
			}
			return p.tokens.Authorize(r, rights, path)
		}
	}
	if p.Flags.Hooks != "" {
		if _, err := readSecrets(p.Flags.Hooks); err != nil {
			return nil, err
		}
		o.Hooks = func() []string { // it may have changed
			secrets, err := readSecrets(p.Flags.Hooks)
			if err != nil {
				p.Log.Error("push events are refused", "error", err)
			}
			return secrets
		}
	}
	api, err := operate.New(handler, p.Store, o)
	if err != nil {
		return nil, err
	}
	return api.Front(root), nil
}

// readSecrets reads the file of -hooks: a secret a line, and comments that begin with #.
func readSecrets(file string) ([]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-hooks: %w", err)
	}
	var secrets []string
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		if len(line) < operate.MinHookSecret {
			return nil, fmt.Errorf("-hooks: %s has a secret of less than %d characters", file, operate.MinHookSecret)
		}
		secrets = append(secrets, line)
	}
	if secrets == nil {
		return nil, fmt.Errorf("-hooks: %s has no secret", file)
	}
	return secrets, nil
}
