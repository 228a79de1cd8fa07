// Package oidc lets CI jobs in by the OpenID Connect tokens that GitHub, GitLab and other
// systems give them, so that no job needs a secret of its own. A file says whose tokens count
// and what they are for:
//
//	issuer   https://gitlab.corp.example gitlab
//	audience https://go.corp.example
//	allow    corp.example.com      read          project_path=team/**
//	allow    corp.example.com/lib  read,publish  project_path=team/lib ref_type=tag ref_protected=true
//
// [Open] reads such a file, and again when it changes; [Parse] describes its lines.
// [File.Verify] is for package serve/auth:
//
//	jobs, err := oidc.Open("jobs.txt", nil)
//	…
//	go jobs.Run(ctx)
//	tokens, err := auth.Open("tokens.txt", &auth.Options{Verify: jobs.Verify})
//
// A job presents its token as a Bearer token, or as the password of a Basic login, which is
// what the go command can take from a netrc file.
//
// # What is checked
//
// A token counts if a key of its issuer has signed it, by an algorithm with public keys
// (RS, PS and ES with 256, 384 and 512 bits, EdDSA); if its aud has one of the issuer's
// audiences; and if it is neither expired nor from the future, give or take [Options.LeewayInterval].
// What it allows is what the lines allow whose claims it has, all of them.
//
// # The issuer's keys
//
// They are fetched when the first token of an issuer comes, by its discovery document, and
// anew each hour, and when a token names a key that is not among them. An
// issuer is asked at most five times at once and then once in ten seconds, whatever tokens
// say. While it is down, the keys from before count, for a day at most; a token with another
// key is then answered with 503. Only issuers of the file are ever asked.
package oidc

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/reload"
	"github.com/athens-go/athens/serve/auth"
)

// Options configures a [File]. Its zero value is ready for use.
type Options struct {
	// Limits

	// LeewayInterval is how far the clock of an issuer and that of this server may be apart, for the
	// times in tokens (exp, nbf, iat). Zero means one minute; a negative value means not at
	// all.
	LeewayInterval time.Duration
	// MaxTokenBytes is how long a token may be. Zero means 16 KiB.
	MaxTokenBytes int64
	// MaxVerified bounds how many tokens are remembered after they were verified, each for
	// at most five minutes, with about 500 bytes. Zero means 10,000.
	MaxVerified int

	// Sources

	// Client fetches the keys of issuers. If it is nil, a client does that takes 10 seconds
	// at most, goes through the proxy that the environment names, and follows redirects to
	// https only.
	Client *http.Client
	// CheckInterval is how often Run looks whether the file has changed. Zero means one
	// second; a negative value means never.
	CheckInterval time.Duration

	// Logger receives a line when another file comes into force, an error when a changed
	// file is bad, and a warning when the keys of an issuer can't be fetched. If it is nil,
	// nothing is logged.
	Logger *slog.Logger
}

// File is a file of issuers in force. All methods may be called at once. Make one with [Open].
type File struct {
	name string
	text *reload.File
	opts Options
	now  atomic.Pointer[inForce]
}

// inForce is a version of the file.
type inForce struct {
	*Config
	keys     map[string]*keySet // by issuer
	verified *cache.Cache[[sha256.Size]byte, *auth.Identity]
}

// Open reads a file of issuers, see [Parse]. It is in force until [File.Reload], or
// [File.Run], has read another text. Open asks no issuer. A nil opts means the zero [Options].
func Open(name string, opts *Options) (*File, error) {
	f := &File{name: name, text: reload.New(name)}
	if opts != nil {
		f.opts = *opts
	}
	o := &f.opts
	if o.MaxTokenBytes < 0 || o.MaxVerified < 0 {
		return nil, errors.New("oidc: MaxTokenBytes and MaxVerified must not be negative")
	}
	if o.MaxTokenBytes == 0 {
		o.MaxTokenBytes = 16 << 10
	}
	if o.MaxVerified == 0 {
		o.MaxVerified = 10_000
	}
	if o.LeewayInterval == 0 {
		o.LeewayInterval = time.Minute
	}
	o.LeewayInterval = max(o.LeewayInterval, 0)
	if o.CheckInterval == 0 {
		o.CheckInterval = time.Second
	}
	if o.Client == nil {
		o.Client = newClient()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return f, f.text.Read(f.load)
}

// Reload reads the file again. If its text is wrong, or it is gone or has become empty, what
// is in force stays, the error names the line, and the log has it.
func (f *File) Reload() error {
	err := f.text.Read(f.load)
	if err != nil {
		f.opts.Logger.Error("the file of issuers is bad; what it said before stays in force", "file", f.name, "error", err)
		return err
	}
	f.opts.Logger.Info("issuers reloaded", "file", f.name, "issuers", len(f.now.Load().issuers))
	return nil
}

func (f *File) load(empty bool) error {
	config, err := ReadFile(f.name)
	if err != nil {
		return err
	}
	before := f.now.Load()
	if before != nil && empty {
		return fmt.Errorf("%s: the file has become empty; a comment in it says that no issuer is meant", f.name)
	}
	const each = 500 // bytes, roughly what the cache counts for an entry
	next := &inForce{config, make(map[string]*keySet), cache.New(int64(f.opts.MaxVerified)*each, func(_ [sha256.Size]byte, who *auth.Identity) int64 {
		return int64(len(who.Name)) + 8*int64(len(who.Grants))
	})}
	for url, one := range config.issuers {
		if before != nil && before.keys[url] != nil {
			next.keys[url] = before.keys[url]
		} else {
			next.keys[url] = &keySet{issuer: url, name: one.label, client: f.opts.Client, log: f.opts.Logger, spare: burst}
		}
	}
	f.now.Store(next)
	return nil
}

// Run reads the file again whenever it has changed, until ctx is done. A file that changes is
// left alone until it has been the same for one CheckInterval.
func (f *File) Run(ctx context.Context) {
	f.text.Run(ctx, f.opts.CheckInterval, func() { _ = f.Reload() }) // the log has what is wrong
}
