package storage

import (
	"bytes"
	"context"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
)

// listName is the file that GOPROXY=file://DIR reads for @v/list.
const listName = "list"

// Versions lists the held versions of one module.
func (s *Store) Versions(ctx context.Context, path string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m := module.Version{Path: path}
	dir, err := s.folder(path)
	if err != nil {
		return nil, fault("versions", m, err)
	}
	list, err := s.versions(path, dir)
	if isAbsent(err) {
		list, err = nil, s.alive()
	}
	if err != nil {
		return nil, fault("versions", m, err)
	}
	return list, ctx.Err()
}

// versions looks for the .mod files in the folder of a module.
func (s *Store) versions(path, dir string) ([]string, error) {
	list, _, err := s.versionsAndMarks(path, dir)
	return list, err
}

// versionsAndMarks also returns the marks of versions, removed ones too. A folder whose
// names do not include the file of the marks costs no look for it.
func (s *Store) versionsAndMarks(path, dir string) (list []string, marks map[string]takenMark, err error) {
	names, err := s.names(dir)
	if err != nil {
		return nil, nil, err
	}
	taken := false
	for _, name := range names {
		taken = taken || name == takenName
		if v, ok := versionOf(path, name, ext(athens.ModFile)); ok {
			list = append(list, v)
		}
	}
	if taken {
		if marks, err = s.readTaken(dir); err != nil {
			return nil, nil, err
		}
		// A kill may have left the .mod of a removed version.
		list = slices.DeleteFunc(list, func(v string) bool { return marks[v].Removed })
	}
	semver.Sort(list)
	return list, marks, nil
}

// names returns the names in a folder but for those of its folders, where the
// file system says which they are.
func (s *Store) names(dir string) ([]string, error) {
	f, err := s.fs.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	d, ok := unwrap(f).(fs.ReadDirFile)
	if !ok {
		return f.Readdirnames(-1)
	}
	entries, err := d.ReadDir(-1)
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// writeList brings the list of a module up to date, for a caller that has its
// lock n and syncs the folder if it was written.
func (s *Store) writeList(n int, path, dir string) (written bool, err error) {
	same, data, err := s.listed(path, dir)
	if err != nil || same {
		return false, err
	}
	return true, s.replaceFile(n, filepath.Join(dir, listName), data)
}

// listed returns what a module's list must contain, and whether it does. As in the
// go command's own cache it names all versions held that are not hidden, pseudo-versions
// too: @latest of file:// is found among them. A module without versions needs no list.
func (s *Store) listed(path, dir string) (same bool, data []byte, err error) {
	versions, marks, err := s.versionsAndMarks(path, dir)
	if err != nil {
		return false, nil, err
	}
	versions = slices.DeleteFunc(versions, func(v string) bool { mark, taken := marks[v]; return taken && !mark.Restored })
	data = make([]byte, 0, 16*len(versions))
	for _, v := range versions {
		data = append(append(data, v...), '\n')
	}
	list, err := s.readSmall(filepath.Join(dir, listName), int64(len(data)))
	if isAbsent(err) {
		return len(versions) == 0, data, nil
	}
	return bytes.Equal(list, data), data, err
}
