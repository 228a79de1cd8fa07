package blob

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/module"
)

// Beginnings of keys. Metadata and zips lie apart, so that a listing of what is
// held sees one object for each version.
const (
	modRoot   = "mod/"
	zipRoot   = "zip/"
	takenRoot = "taken/"
	sumsRoot  = "sums/" // sumdb/ is that of ledgers
	atV       = "/@v/"
	doneEnd   = "+done"
	probeKey  = ".athens/probe"
)

// metaKey is the name of the object with the .info and .mod of m.
func metaKey(m module.Version) (string, error) { return key(modRoot, m, "") }

// zipKey is the name of the object with the zip of m.
func zipKey(m module.Version) (string, error) { return key(zipRoot, m, ".zip") }

func key(root string, m module.Version, ext string) (string, error) {
	if err := module.Check(m.Path, m.Version); err != nil {
		return "", err
	}
	if module.CanonicalVersion(m.Version) != m.Version { // module.Check lets v1 pass
		return "", &module.InvalidVersionError{Version: m.Version, Err: errors.New("not canonical")}
	}
	path, err := module.EscapePath(m.Path)
	if err != nil {
		return "", err
	}
	version, err := module.EscapeVersion(m.Version)
	if err != nil {
		return "", err
	}
	return root + path + atV + version + ext, nil
}

// versionsPrefix is how the keys begin of all metadata of one module, and of no
// other: no element of a path has an @.
func versionsPrefix(path string) (string, error) {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return "", err
	}
	return modRoot + escaped + atV, nil
}

// parseMetaKey is the reverse of metaKey. It reports false for what that does
// not return.
func parseMetaKey(key string) (m module.Version, ok bool) {
	rest, isMeta := strings.CutPrefix(key, modRoot)
	path, version, hasVersion := strings.Cut(rest, atV)
	if !isMeta || !hasVersion {
		return m, false
	}
	var err1, err2 error
	m.Path, err1 = module.UnescapePath(path)
	m.Version, err2 = module.UnescapeVersion(version)
	if err1 != nil || err2 != nil {
		return module.Version{}, false
	}
	if again, err := metaKey(m); err != nil || again != key {
		return module.Version{}, false
	}
	return m, true
}

// takenPrefix is how the keys begin of the marks of one module, and of no other.
func takenPrefix(path string) (string, error) {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return "", err
	}
	return takenRoot + escaped + atV, nil
}

// takenPrefixOf is how the keys begin of the marks of one version, and of no other.
func takenPrefixOf(m module.Version) (string, error) { return key(takenRoot, m, "/") }

// takenKey is the name of the object with the mark of m that has a number.
func takenKey(m module.Version, seq int64) (string, error) {
	if seq < 1 || seq > maxSeq {
		return "", fmt.Errorf("%d is no number of a mark", seq)
	}
	return key(takenRoot, m, fmt.Sprintf("/%010d", seq))
}

// doneKey is the name of the note that a removal was carried out.
func doneKey(m module.Version, seq int64) (string, error) {
	marked, err := takenKey(m, seq)
	return marked + doneEnd, err
}

// parseTakenKey is the reverse of takenKey and doneKey. It reports false for what these
// do not return.
func parseTakenKey(key string) (d decision, ok bool) {
	rest, isTaken := strings.CutPrefix(key, takenRoot)
	i := strings.LastIndexByte(rest, '/')
	if !isTaken || i < 0 {
		return d, false
	}
	number, done := strings.CutSuffix(rest[i+1:], doneEnd)
	m, ok := parseMetaKey(modRoot + rest[:i])
	seq, err := strconv.ParseInt(number, 10, 64)
	if !ok || err != nil {
		return d, false
	}
	if again, err := takenKey(m, seq); err != nil || again+map[bool]string{true: doneEnd}[done] != key {
		return d, false
	}
	return decision{m, seq, done}, true
}
