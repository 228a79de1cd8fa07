package server

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/athens-go/athens/serve"
)

// ProxyFlags are those of a proxy, beside what all servers have.
type ProxyFlags struct {
	upstream, miss, fill *string
	after                *time.Duration
	maxBytes             *int64
	follow               *bool
}

// ProxyFlags defines them.
func (f *Flags) ProxyFlags() *ProxyFlags {
	f.BoolVar(&f.privateUpstream, "private-upstream", false, "the upstream is a registry of your own: fetch what -private matches from it too, and let its checksum database verify it\n(-sumdb 'NAME+HASH+KEY UPSTREAM/sumdb/NAME'); not set means that the upstream never learns of it")
	return &ProxyFlags{
		upstream: f.UpstreamFlag(),
		miss:     f.String("miss", "redirect", "for a public module that is not held, `redirect` the client to the upstream, or 'fetch' for it"),
		after:    f.Duration("fill-after", 10*time.Second, "fill the store this long after a redirect; 0 means at once"),
		maxBytes: f.Int64("max-bytes", 0, "store at most this many `bytes` of versions: beyond that, the public ones that were not used for the longest time\nare evicted; 0 means no bound"),
		follow:   f.Bool("follow", false, "follow the events of the upstream, a registry with -events: its news is seen within a second, and what it removes is\nno longer served here; not given means that the upstream's answers are remembered for -list-ttl"),
		fill:     f.String("fill", "asked", "fill what was `asked` for, or 'whole' versions with their zips"),
	}
}

// Check returns what is wrong with them.
func (f *ProxyFlags) Check() error {
	switch {
	case *f.miss != "redirect" && *f.miss != "fetch":
		return fmt.Errorf("-miss is redirect or fetch, not %q", *f.miss)
	case *f.fill != "asked" && *f.fill != "whole":
		return fmt.Errorf("-fill is asked or whole, not %q", *f.fill)
	case *f.maxBytes < 0:
		return fmt.Errorf("-max-bytes is %d; it must not be negative", *f.maxBytes)
	case *f.after < 0:
		return fmt.Errorf("-fill-after is %v; it must not be negative", *f.after)
	}
	return nil
}

// Use makes p a proxy.
func (p *Parts) Use(f *ProxyFlags) error {
	if err := p.UseUpstream(*f.upstream); err != nil {
		return err
	}
	if err := p.bound(*f.maxBytes); err != nil {
		return err
	}
	if p.follow = *f.follow; p.follow && p.Options.Upstream == nil && !p.Flags.Offline {
		return errors.New("-follow needs an upstream: a registry with -events (-upstream)")
	}
	opts := &p.Options
	opts.MissFetch = opts.Upstream != nil && *f.miss == "fetch"
	opts.FillWhole = *f.fill == "whole"
	if opts.FillAfter = *f.after; *f.after == 0 {
		opts.FillAfter = -1 // zero would mean the default
	}
	return nil
}

// PasteAt is the line that points the go command at the server at addr.
func (p *Parts) PasteAt(addr net.Addr) string {
	scheme := "http"
	if p.CertFile != "" {
		scheme = "https"
	}
	if addr.Network() == "unix" {
		return SocketLine(addr)
	}
	url := scheme + "://" + serve.LocalHost(addr) + p.Flags.Prefix()
	if key := p.ownSumDB(); key != "" {
		return serve.PasteVerifiedLine(url, key, p.pasteUnverified())
	}
	return serve.PasteLine(url, p.pasteUnverified())
}

// pastePatterns are those of modules that clients may hold for private: what is private
// here, and what -private-upstream leaves to the upstream.
func (p *Parts) pastePatterns() string {
	return strings.Trim(p.privateNow()+","+p.Flags.covered, ",")
}

// privateNow are the patterns of what is private here by the rules in force.
func (p *Parts) privateNow() string {
	if p.rules != nil {
		return p.rules.PrivatePatterns()
	}
	return p.Private
}

// ownSumDB returns the key of the database that knows all modules of this server: its
// ledger, or the upstream's, where no module is private here.
func (p *Parts) ownSumDB() string {
	words := strings.Fields(p.Flags.SumDB)
	if p.sumdb == "" && p.Private == "" && p.upstream != "" && len(words) == 2 && strings.HasPrefix(words[1], strings.TrimSuffix(p.upstream, "/")+"/") {
		return words[0]
	}
	return p.sumdb
}
