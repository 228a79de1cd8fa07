package fetcher

import (
	"context"
	"net"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/netguard"
)

// A networkPolicy says which servers requests for a module path may be sent to.
type networkPolicy struct {
	insecure bool // TLS is optional
	private  bool // addresses that are not public may be dialed
}

// policyFor returns the policy for requests for path.
func (f *Fetcher) policyFor(ctx context.Context, path string) networkPolicy {
	p := networkPolicy{insecure: module.MatchPrefixPatterns(f.opts.Insecure, path)}
	if private := athens.RequestInfoFrom(ctx).Private; private != nil {
		p.private = *private
	} else {
		p.private = f.private.Match(path)
	}
	return p
}

// String returns a prefix for cache keys: what was learned under one policy is not
// used under another.
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

// dialer returns the function that connects to the repository's server for protocols
// other than HTTP.
func (r *repo) dialer() netguard.DialFunc {
	if r.policy.private {
		return (&net.Dialer{Timeout: netguard.DialTimeout}).DialContext
	}
	return netguard.Dial(nil)
}
