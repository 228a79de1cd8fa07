package athens

import (
	"context"
	"encoding/json"
	"fmt"

	"golang.org/x/mod/module"
)

// heldInfo returns the held .info of a version with the Origin of info, the source's
// answer to a query: a branch, a tag or a list of tags, on which the version itself
// does not depend. It returns nil if the version is not held, if the two contradict
// each other, or if an upstream leaves the Origin out.
func (x *exchange) heldInfo(m module.Version, info *Info) ([]byte, error) {
	src, err := x.h.sourceOf(m, x.route)
	if err != nil || info.Origin == nil && !src.vcs {
		return nil, err
	}
	data, err := x.h.read(x.r.Context(), m, InfoFile, maxInfo)
	if err != nil {
		return nil, nil // it is not held, or serveHeld meets the store's failure too
	}
	var (
		held   Info
		fields map[string]json.RawMessage // with those that this package does not know
	)
	if json.Unmarshal(data, &held) != nil || json.Unmarshal(data, &fields) != nil {
		return nil, nil // serveHeld serves it as it is
	}
	if a, b := compareInfos(&held, info, src.vcs); a != "" || b != "" {
		return nil, nil
	}
	delete(fields, "Origin")
	if info.Origin != nil {
		if fields["Origin"], err = json.Marshal(info.Origin); err != nil {
			return nil, fmt.Errorf("encode .info: %w", err)
		}
	}
	if data, err = json.Marshal(fields); err != nil {
		return nil, fmt.Errorf("encode .info: %w", err)
	}
	return data, nil
}

// noneFits reports whether err, a source's answer to a query, says that no version of
// a module fits whose repository is there: then no held version is the answer either.
// Without its repository, held versions are. An upstream that knows no queries, such
// as a folder of files, answers "not found" to all of them.
func (x *exchange) noneFits(err error) bool {
	if _, missing := outermost(err).(*MissingError); !missing {
		return false
	}
	m := x.req.Module
	src, err := x.h.sourceOf(m, x.route)
	if err != nil || !src.vcs {
		return false
	}
	a := x.ask(src, question{op: "there", path: m.Path}, nil, func(ctx context.Context) (answer, error) {
		ctx = x.h.onward(ctx, src, x.chainTo(src))
		_, err := src.Versions(ctx, m.Path)
		if err != nil { // one odd tag can spoil the list
			_, err = src.Resolve(ctx, m.Path, "HEAD")
		}
		return answer{}, err
	})
	return a.failure() == nil
}
