package fetcher

import (
	"bufio"
	"io"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// An entry is one name in a folder.
type entry struct {
	name string
	mode filemode.FileMode
	hash string
}

// tree calls visit for each entry of a folder until visit returns false or an
// error. It keeps no entries, because a tree can have millions of them.
func (o *objects) tree(hash string, visit func(entry) (bool, error)) error {
	obj, err := o.object(plumbing.TreeObject, hash)
	if err != nil {
		return damaged(err)
	}
	defer obj.Close()
	if obj.Size > maxTreeBytes {
		return invalidf("the tree %s has %d bytes, more than the fixed limit of 64 MiB", hash, obj.Size)
	}
	var stop error
	err = parseTree(obj, func(e entry) bool {
		var more bool
		if stop = o.job.Step(entrySteps); stop == nil {
			more, stop = visit(e)
		}
		return more && stop == nil
	})
	if stop != nil {
		return stop
	}
	if err != nil {
		return objectError("tree "+hash, err)
	}
	return nil
}

// entrySteps is the work of reading one entry of a folder, in steps.
const entrySteps = 512

func parseTree(r io.Reader, visit func(entry) bool) error {
	data := bufio.NewReaderSize(r, maxNameBytes)
	for {
		head, err := data.ReadSlice(0)
		switch {
		case err == io.EOF && len(head) == 0:
			return nil
		case err == bufio.ErrBufferFull:
			return malformed("an entry's name is too long")
		case err == io.EOF:
			return malformed("malformed entry")
		case err != nil:
			return err
		}
		mode, name, ok := strings.Cut(string(head[:len(head)-1]), " ")
		if !ok || name == "" || strings.Contains(name, "/") {
			return malformed("malformed entry")
		}
		n, err := strconv.ParseUint(mode, 8, 32)
		if err != nil {
			return malformed("malformed mode")
		}
		var hash plumbing.Hash
		if _, err := io.ReadFull(data, hash[:]); err == io.EOF || err == io.ErrUnexpectedEOF {
			return malformed("malformed entry")
		} else if err != nil {
			return err
		}
		if !visit(entry{name, filemode.FileMode(n), hash.String()}) {
			return nil
		}
	}
}

func (e entry) isTree() bool      { return e.mode&0o170000 == 0o040000 }
func (e entry) isSymlink() bool   { return e.mode&0o170000 == 0o120000 }
func (e entry) isSubmodule() bool { return e.mode&0o170000 == 0o160000 }

// gitLink matches names that git takes for .gitmodules on some file system.
var gitLink = regexp.MustCompile(`^(\.gitmodules|gitmod~[1-4]|gi7eba~[0-9])$`)

// isForbidden reports whether git refuses an entry, and so the whole commit,
// because on some file system it would be git's own file or escape the folder.
func (e entry) isForbidden() bool {
	stem, _, _ := strings.Cut(strings.ToLower(e.name), ":")
	stem = strings.TrimRight(stem, " .")
	return e.name == "." || e.name == ".." || stem == ".git" || stem == "git~1" || e.isSymlink() && gitLink.MatchString(stem)
}

// find returns the entry of a file or folder, given its path relative to a tree.
func (o *objects) find(tree, name string) (entry, error) {
	at := entry{mode: 0o040000, hash: tree}
	if name == "" || name == "." {
		return at, nil
	}
	if path.Clean(name) != name {
		return entry{}, errNoFile
	}
	for part := range strings.SplitSeq(name, "/") {
		if !at.isTree() {
			return entry{}, errNoFile
		}
		found := false
		err := o.tree(at.hash, func(e entry) (bool, error) {
			if e.name == part {
				at, found = e, true
			}
			return !found, nil
		})
		if err != nil {
			return entry{}, err
		}
		if !found {
			return entry{}, errNoFile
		}
	}
	return at, nil
}
