package blob

import (
	"errors"
	"strings"

	"golang.org/x/mod/module"
)

// Beginnings of keys. Metadata and zips lie apart, so that a listing of what is
// held sees one object for each version.
const (
	modRoot  = "mod/"
	zipRoot  = "zip/"
	atV      = "/@v/"
	probeKey = ".athens/probe"
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
