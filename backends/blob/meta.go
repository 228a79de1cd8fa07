package blob

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
	"golang.org/x/mod/module"
)

// maxInfo bounds an .info in bytes.
const maxInfo = 1 << 20

// maxLine bounds the line of an .info in an object in bytes: a wrapped one is longer.
const maxLine = maxInfo/3*4 + 1<<10

// meta is the .info and .mod of a version: one object, its first line the .info and
// the rest the .mod.
type meta struct {
	info   athens.Info
	object []byte
	cut    int    // where the line ends
	raw    []byte // the .info, where it can't be that line
}

// wrapped is the line for an .info that has a line's end, or that would be taken for a
// wrapped one.
type wrapped struct {
	Version string
	Raw     []byte `json:"athens-info"`
}

// file returns the content of the .info or the .mod.
func (d *meta) file(f athens.File) []byte {
	switch {
	case f != athens.InfoFile:
		return d.object[d.cut+1:]
	case d.raw != nil:
		return d.raw
	}
	return d.object[:d.cut]
}

// encodeMeta makes the object of a version.
func encodeMeta(m module.Version, info *athens.Info, mod []byte) (*meta, error) {
	line, err := info.Encode()
	if err == nil && info.Version != m.Version {
		err = fmt.Errorf("the .info names version %q", info.Version)
	}
	if err == nil && len(line) > maxInfo {
		err = fmt.Errorf("the .info has %d bytes, more than %d", len(line), maxInfo)
	}
	if err == nil {
		var w wrapped
		if bytes.IndexByte(line, '\n') >= 0 || json.Unmarshal(line, &w) != nil || w.Raw != nil {
			line, err = json.Marshal(wrapped{m.Version, line})
		}
	}
	var d *meta
	if err == nil {
		d, err = parseMeta(m, bytes.Join([][]byte{line, mod}, []byte{'\n'}))
	}
	if err != nil {
		return nil, &athens.InvalidError{Path: m.Path, Version: m.Version, Err: err}
	}
	return d, nil
}

// parseMeta reads the object of m.
func parseMeta(m module.Version, object []byte) (*meta, error) {
	d := &meta{object: object, cut: bytes.IndexByte(object, '\n')}
	if d.cut < 0 || d.cut > maxLine || d.cut+1 == len(object) {
		return nil, errors.New("the object is not an .info and a .mod")
	}
	var w wrapped
	if json.Unmarshal(object[:d.cut], &w) == nil {
		d.raw = w.Raw
	}
	if err := json.Unmarshal(d.file(athens.InfoFile), &d.info); err != nil {
		return nil, fmt.Errorf("the object does not begin with an .info: %w", err)
	}
	if d.info.Version != m.Version {
		return nil, fmt.Errorf("the object's .info names version %q", d.info.Version)
	}
	return d, nil
}

// etag makes a strong entity tag of a file's content.
func etag(content []byte) string {
	sum := sha256.Sum256(content)
	return `"` + base64.RawURLEncoding.EncodeToString(sum[:18]) + `"`
}

// compare returns a ConflictError if what is offered of m is not what is held.
func (d *meta) compare(m module.Version, info *athens.Info, mod []byte) error {
	held := d.file(athens.ModFile)
	if !bytes.Equal(held, mod) {
		heldHash, err1 := modcheck.ModHash(held)
		gotHash, err2 := modcheck.ModHash(mod)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		return &athens.ConflictError{Module: m, File: athens.ModFile, Held: heldHash, Got: gotHash}
	}
	was, is := "version "+d.info.Version, "version "+info.Version
	if was == is && info.Raw == nil {
		was, is = "of "+stamp(d.info.Time), "of "+stamp(info.Time)
	}
	if was == is && d.info.Origin != nil && info.Origin != nil && d.info.Origin.Hash != "" && info.Origin.Hash != "" {
		was, is = "commit "+d.info.Origin.Hash, "commit "+info.Origin.Hash
	}
	if was == is {
		return nil
	}
	return &athens.ConflictError{Module: m, File: athens.InfoFile, Held: was, Got: is}
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
