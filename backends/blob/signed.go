package blob

import (
	"context"
	"errors"
	"net/http"

	"gocloud.dev/blob"
	"golang.org/x/mod/module"
)

// ZipURL returns a URL at which a client that has no credentials can GET the zip of
// m from the service, for as long as Options.ZipURLTTL says; empty if that is zero.
// Signing is local with S3; with other services it depends on the credentials.
func (s *Store) ZipURL(ctx context.Context, m module.Version) (string, error) {
	if s.opts.ZipURLTTL == 0 {
		return "", nil
	}
	key, err := zipKey(m)
	if err != nil {
		return "", fault(ctx, "sign", m, err)
	}
	url, err := within(ctx, s.opts.Timeout, func(ctx context.Context) (string, error) {
		return s.bucket.SignedURL(ctx, key, &blob.SignedURLOptions{Expiry: s.opts.ZipURLTTL, Method: http.MethodGet})
	})
	if err == nil && url == "" {
		err = errors.New("the service signed nothing")
	}
	return url, fault(ctx, "sign", m, err)
}
