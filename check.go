package athens

import (
	"encoding/json"
	"fmt"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/modcheck"
)

// maxInfo is the size in bytes of the largest .info.
const maxInfo = 1 << 20

// checkInfo checks that info can be encoded. The info of an upstream then has Raw, so
// that the store takes it as a hint; that of version control has none.
func checkInfo(info *Info, vcs bool) error {
	if vcs {
		info.Raw = nil
	}
	b, err := info.Encode()
	if err == nil && len(b) > maxInfo {
		err = fmt.Errorf("the source's .info has %d bytes, more than %d", len(b), maxInfo)
	}
	if err == nil && !vcs {
		info.Raw = b
	}
	return err
}

// compareInfos returns the values in which two .info files of one version contradict
// each other, or two empty strings. An upstream's .info is a hint: only another commit
// contradicts the stored one. An .info made from a commit (vcs) must also have the
// stored time.
func compareInfos(held, got *Info, vcs bool) (ofHeld, ofGot string) {
	was, is := held.commit(), got.commit()
	switch both := was != "" && is != ""; {
	case both && was != is:
		return "commit " + was, "commit " + is
	case !both && vcs && !held.Time.Equal(got.Time):
		return "time " + held.Time.String(), "time " + got.Time.String()
	}
	return "", ""
}

// compareHeld returns the [*ConflictError] of the stored .info of m and that of a source,
// or nil if they agree as compareInfos says.
func compareHeld(m module.Version, held []byte, got *Info, vcs bool) error {
	var info Info
	if err := json.Unmarshal(held, &info); err != nil {
		return fmt.Errorf("the stored .info is not JSON: %w", err)
	}
	if was, is := compareInfos(&info, got, vcs); was != is {
		return &ConflictError{m, InfoFile, was, is}
	}
	return nil
}

// commit returns the commit that i names, or "".
func (i *Info) commit() string {
	if i.Origin == nil {
		return ""
	}
	return i.Origin.Hash
}

// checkZip checks a staged zip, then asks the checksum database about it, and returns
// its hash. The go.mod in a zip from version control is mod. An upstream's zip may have
// none or another one, which the go command accepts: its .mod has a hash of its own.
func (h *Handler) checkZip(src source, stage Stage, size int64, m module.Version, mod []byte) (h1 string, err error) {
	if src.vcs {
		h1, err = modcheck.Zip(stage, size, m, mod, h.opts.MaxZipBytes)
	} else {
		h1, err = modcheck.ZipAlone(stage, size, m, h.opts.MaxZipBytes)
	}
	if err != nil {
		return "", &InvalidError{m.Path, m.Version, err}
	}
	return h1, h.verify(src, m, "", h1)
}

// verifies reports whether the checksum database must know what src returns.
func (h *Handler) verifies(src source) bool { return h.opts.Checksums != nil && !src.Private }

// verifyMod checks that the checksum database knows a .mod of m.
func (h *Handler) verifyMod(src source, m module.Version, mod []byte) error {
	if !h.verifies(src) {
		return nil
	}
	h1, err := modcheck.ModHash(mod)
	if err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return h.verify(src, m, "/go.mod", h1)
}

// verify checks that the checksum database knows a hash of m. A version that it does
// not know is not stored, but is not missing either.
func (h *Handler) verify(src source, m module.Version, suffix, h1 string) error {
	if !h.verifies(src) {
		return nil
	}
	version := m.Version + suffix
	lines, err := h.opts.Checksums.Lookup(m.Path, version)
	if missing, ok := outermost(err).(*MissingError); ok {
		return &InvalidError{m.Path, m.Version, fmt.Errorf("not found in the checksum database: %v", missing.Err)}
	}
	if Final(err) { // about the database, not the source
		return &InvalidError{m.Path, m.Version, fmt.Errorf("checksum database lookup failed: %w", err)}
	}
	if err != nil {
		return err
	}
	if err := modcheck.Vouched(lines, module.Version{Path: m.Path, Version: version}, h1); err != nil {
		return &InvalidError{m.Path, m.Version, err}
	}
	return nil
}
