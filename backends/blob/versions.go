package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"gocloud.dev/blob"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

const (
	// pageSize is how many keys a request lists: the most that S3 lists at once.
	pageSize = 1000
	// maxToken bounds what a service says of where a listing goes on, in bytes.
	maxToken = 64 << 10
	// maxVersions bounds the versions of one module.
	maxVersions = 1 << 20
)

// Versions lists the held versions of one module: a request for each thousand.
func (s *Store) Versions(ctx context.Context, path string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	prefix, err := versionsPrefix(path)
	if err != nil {
		return nil, fault(ctx, "versions", module.Version{Path: path}, err)
	}
	var list []string
	known, _ := s.marks.Get(path)
	for m, err := range s.walk(ctx, prefix) {
		if err != nil {
			return nil, fault(ctx, "versions", module.Version{Path: path}, err)
		}
		if k := known.marks[m.Version]; k.Removed && !s.opts.Unprobed {
			// A Put of what was restored was cut off by a Remove, and died.
			if k, err = s.newestMark(ctx, m); err == nil && k.Removed {
				err = s.bury(ctx, m)
			}
			if err != nil {
				return nil, fault(ctx, "versions", m, err)
			}
			if k.Removed {
				continue
			}
		}
		if list = append(list, m.Version); len(list) > maxVersions {
			return nil, fault(ctx, "versions", m, fmt.Errorf("more than %d", maxVersions))
		}
	}
	semver.Sort(list)
	return list, nil
}

// All walks over the held versions, as [athens.Lister] says: a request for each
// thousand. It ends with the first request that fails, for it can't go on without
// the page.
func (s *Store) All(ctx context.Context) iter.Seq2[module.Version, error] {
	return func(yield func(module.Version, error) bool) {
		var path string
		var list []string
		// The keys come in order, so those of a module one after the other.
		flush := func() bool {
			semver.Sort(list)
			for _, v := range list {
				if err := ctx.Err(); err != nil {
					yield(module.Version{}, err)
					return false
				}
				if !yield(module.Version{Path: path, Version: v}, nil) {
					return false
				}
			}
			list = list[:0]
			return true
		}
		for m, err := range s.walk(ctx, modRoot) {
			if err == nil && m.Path == path && len(list) == maxVersions {
				m, err = module.Version{Path: path}, fmt.Errorf("more than %d versions", maxVersions)
			}
			if err != nil {
				if flush() {
					yield(module.Version{Path: m.Path}, fault(ctx, "walk", m, err))
				}
				return
			}
			if m.Path != path {
				if !flush() {
					return
				}
				path = m.Path
			}
			list = append(list, m.Version)
		}
		flush()
	}
}

// walk goes over what is held under a prefix, in the order of the keys. An error is
// the last.
func (s *Store) walk(ctx context.Context, prefix string) iter.Seq2[module.Version, error] {
	return func(yield func(module.Version, error) bool) {
		for o, err := range s.objects(ctx, prefix) {
			if err != nil {
				yield(module.Version{}, err)
				return
			}
			// What is empty is not held: it was removed.
			if m, ok := parseMetaKey(o.Key); ok && o.Size > 0 && !yield(m, nil) {
				return
			}
		}
	}
}

// objects lists the objects under a prefix, in the order of the keys. An error is the last.
func (s *Store) objects(ctx context.Context, prefix string) iter.Seq2[*blob.ListObject, error] {
	return func(yield func(*blob.ListObject, error) bool) {
		for token := blob.FirstPageToken; len(token) > 0; {
			objects, next, err := s.page(ctx, prefix, token, pageSize)
			if err == nil && bytes.Equal(next, token) {
				err = errors.New("the service's listing does not advance")
			}
			if err != nil {
				yield(nil, err)
				return
			}
			for _, o := range objects {
				if !yield(o, nil) {
					return
				}
			}
			token = next
		}
	}
}

// page lists at most size objects under a prefix from where token leads. A service that
// answers with more is refused; one that lists nothing for ever is given up by the timeout.
func (s *Store) page(ctx context.Context, prefix string, token []byte, size int) (objects []*blob.ListObject, next []byte, err error) {
	_, err = within(ctx, s.opts.Timeout, func(ctx context.Context) (_ struct{}, err error) {
		objects, next, err = s.bucket.ListPage(ctx, token, size, &blob.ListOptions{Prefix: prefix})
		return struct{}{}, err
	})
	switch {
	case err == io.EOF: // a page beyond the last
		return nil, nil, nil
	case err != nil:
		return nil, nil, err
	case len(objects) > size || len(next) > maxToken:
		return nil, nil, fmt.Errorf("the service listed %d objects and a token of %d bytes, more than %d and %d", len(objects), len(next), size, maxToken)
	}
	return objects, next, nil
}
