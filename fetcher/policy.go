package fetcher

import (
	"context"
	"net"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/netguard"
)

// A networkPolicy is how far requests on behalf of a module path may go.
type networkPolicy struct {
	insecure bool // TLS is not demanded
	private  bool // addresses that are not public may be dialed
}

// policyFor says how far requests on behalf of path may go.
func (f *Fetcher) policyFor(ctx context.Context, path string) networkPolicy {
	private, known := athens.IsPrivate(ctx)
	if !known {
		private = f.opts.Private.Match(path)
	}
	return networkPolicy{insecure: module.MatchPrefixPatterns(f.opts.Insecure, path), private: private}
}

// String is a prefix for keys: what was learned at one reach is not told at
// another.
func (r networkPolicy) String() string {
	var s string
	if r.insecure {
		s += "insecure "
	}
	if r.private {
		s += "private "
	}
	return s
}

// dialer returns how the repository's server is connected to, where that is not
// by HTTP.
func (r *repo) dialer() netguard.DialFunc {
	if r.policy.private {
		return (&net.Dialer{Timeout: netguard.DialTimeout}).DialContext
	}
	return netguard.Dial(nil)
}
