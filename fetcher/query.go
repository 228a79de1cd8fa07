package fetcher

import (
	"bytes"
	"cmp"
	"context"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
)

// A query chooses one of a module's versions, such as "latest" or ">=v1.2.3".
type query struct {
	text   string
	path   string // of the module
	prefix string // that the versions begin with
	fits   func(version string) bool
	lowest bool // choose the lowest version that fits, not the highest
	tip    bool // if there is no version, choose the default branch's commit
	others bool // do not prefer compatible versions to those with "+incompatible"
}

// A versionSource answers what a query needs to know about a module's versions.
type versionSource interface {
	// versionsWith returns the versions that begin with prefix, sorted.
	versionsWith(ctx context.Context, prefix string) ([]string, error)
	// named returns the version that a version or a revision resolves to.
	named(ctx context.Context, revision string) (*athens.Info, error)
	// tip returns the default branch's commit.
	tip(ctx context.Context) (*athens.Info, error)
	// mod returns the .mod of a version; that of the tip if version is "".
	mod(ctx context.Context, version string) ([]byte, error)
	// listOrigin returns the origin of the list of versions that begin with prefix;
	// nil if it is not known.
	listOrigin(prefix string) *athens.Origin
}

// resolve answers a query, or resolves a revision, as "go list -m path@text" does.
func resolve(ctx context.Context, lib versionSource, path, text string) (*athens.Info, error) {
	q, ok, err := parseQuery(path, text)
	if err != nil {
		return nil, err
	}
	if ok {
		return q.answer(ctx, lib)
	}
	info, err := lib.named(ctx, text)
	if isNotFound(err) && semver.IsValid(text) {
		// v1.0.0+meta means v1.0.0 if there is no tag with exactly that name.
		if canonical := module.CanonicalVersion(text); canonical != text {
			if other, err2 := lib.named(ctx, canonical); err2 == nil || !isNotFound(err2) {
				return other, err2
			}
		}
	}
	return info, err
}

// isPrefix reports whether a query is the beginning of a version: v1 or v1.2.
func isPrefix(query string) bool {
	return semver.IsValid(query) && strings.Count(query, ".") < 2 && semver.Prerelease(query) == "" && semver.Build(query) == ""
}

// parseQuery parses a query. ok is false if text names a revision.
func parseQuery(path, text string) (q query, ok bool, err error) {
	q = query{text: text, path: path, fits: func(string) bool { return true }}
	sign := text[:len(text)-len(strings.TrimLeft(text, "<>="))]
	bound := text[len(sign):]
	ordered := func(fits func(order int) bool) {
		q.fits = func(v string) bool { return fits(semver.Compare(v, bound)) }
	}
	switch {
	case text == "latest", text == "upgrade":
		q.tip = true
		return q, true, nil
	case text == "patch":
		return q, false, notFoundf("there is no current version that this could be a patch of")
	case sign == "" && isPrefix(text):
		// v1.2.0-pre does not match v1.2, because it is before v1.2.0.
		q.prefix = text + "."
		ordered(func(order int) bool { return order >= 0 })
	case sign == "<":
		ordered(func(order int) bool { return order < 0 })
	case sign == "<=":
		ordered(func(order int) bool { return order <= 0 })
	case sign == ">":
		ordered(func(order int) bool { return order > 0 })
	case sign == ">=":
		ordered(func(order int) bool { return order >= 0 })
	case strings.HasPrefix(sign, "=") || sign == "":
		return q, false, nil
	default:
		return q, false, notFoundf("%q is not a version range", text)
	}
	switch {
	case !semver.IsValid(bound):
		return q, false, notFoundf("%q is not a version", bound)
	case isPrefix(bound) && (sign == "<=" || sign == ">"):
		// v1.2 could also mean v1.2.3.
		return q, false, notFoundf("%q in a range is ambiguous", bound)
	}
	q.lowest = strings.HasPrefix(sign, ">")
	_, major, _ := module.SplitPathVersion(path)
	q.others = module.CheckPathMajor(bound, major) != nil
	return q, true, nil
}

// answer chooses a version. It skips versions that the module retracts.
func (q query) answer(ctx context.Context, lib versionSource) (*athens.Info, error) {
	none := notFoundf("no version is %s", q.text)
	list, err := lib.versionsWith(ctx, q.prefix)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 && !q.tip {
		return nil, none
	}
	retracted, err := retractedByLatest(ctx, lib, q.path)
	if err != nil {
		return nil, err
	}
	version, err := q.choose(ctx, lib, list, func(v string) bool { return q.fits(v) && !retracted(v) })
	if err != nil {
		return nil, err
	}
	var info *athens.Info
	switch {
	case version != "":
		info, err = lib.named(ctx, version)
	case q.tip:
		info, err = lib.tip(ctx)
	default:
		return nil, none
	}
	if err != nil {
		return nil, err
	}
	if version == "" && retracted(info.Version) {
		return nil, notFoundf("all versions are retracted")
	}
	info.Origin = mergeOrigins(lib.listOrigin(q.prefix), info.Origin)
	return info, nil
}

// choose returns the highest, or lowest, release among the sorted versions that
// are allowed. Without one it returns such a pre-release, and without that "". It
// considers versions with "+incompatible" only if the query asks for them, or if the
// last version before them has no go.mod.
func (q query) choose(ctx context.Context, lib versionSource, all []string, allowed func(version string) bool) (string, error) {
	var release, pre, lastCompatible string
	for _, v := range all {
		if !allowed(v) || !strings.HasPrefix(v, q.prefix) {
			continue
		}
		if !strings.HasSuffix(v, incompatible) {
			lastCompatible = v
		} else if !q.others && lastCompatible != "" {
			mod, err := lib.mod(ctx, lastCompatible)
			if err != nil {
				return "", err
			}
			if !bytes.Equal(mod, madeUpMod(q.path)) {
				break
			}
			q.others = true
		}
		found := &release
		if semver.Prerelease(v) != "" {
			found = &pre
		}
		if *found == "" || !q.lowest {
			*found = v
		}
	}
	return cmp.Or(release, pre), nil
}

// retractedByLatest returns a function that reports whether the latest version
// retracts a version, which may be itself.
func retractedByLatest(ctx context.Context, lib versionSource, path string) (func(version string) bool, error) {
	list, err := lib.versionsWith(ctx, "")
	if err != nil {
		return nil, err
	}
	latest := query{path: path, tip: true}
	version, err := latest.choose(ctx, lib, list, func(string) bool { return true })
	if err != nil {
		return nil, err
	}
	mod, err := lib.mod(ctx, version)
	if err != nil && !isNotFound(err) {
		return nil, err
	}
	return modcheck.Retracted(mod).Include, nil
}
