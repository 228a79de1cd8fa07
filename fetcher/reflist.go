package fetcher

import (
	"encoding/hex"
	"iter"
	"slices"
	"sort"
	"strings"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
)

// A refList stores references, sorted by name, in little more memory than their names
// and hashes: some repositories have a million of them.
type refList struct {
	names  []byte   // concatenated
	starts []uint32 // of each name in names
	ids    []gitwire.ID
	tags   []tagTarget // of annotated tags, by index
	mixed  bool        // the names were not added in order
}

// A tagTarget is the tag object that a reference names; ids has its commit.
type tagTarget struct {
	index uint32
	id    gitwire.ID
}

const (
	refBytes = 4 + 20 // for each reference, beside its name
	tagBytes = 4 + 20 // for each annotated tag, beside that
)

// bytes returns the memory that the list takes.
func (l *refList) bytes() int64 {
	return int64(cap(l.names)) + refBytes*int64(cap(l.ids)) + tagBytes*int64(cap(l.tags))
}

// add appends a reference: its commit, and the object that it names.
func (l *refList) add(name []byte, commit, tip gitwire.ID) {
	if n := len(l.ids); n > 0 && !l.mixed && string(l.name(n-1)) >= string(name) {
		l.mixed = true
	}
	l.starts = append(l.starts, uint32(len(l.names)))
	l.names = append(l.names, name...)
	if commit != tip {
		l.tags = append(l.tags, tagTarget{uint32(len(l.ids)), tip})
	}
	l.ids = append(l.ids, commit)
}

// sorted returns a sorted copy. Of several references with the same name it keeps the
// last.
func (l *refList) sorted() *refList {
	out := &refList{}
	order := make([]uint32, len(l.ids))
	for i := range order {
		order[i] = uint32(i)
	}
	if l.mixed {
		slices.SortStableFunc(order, func(a, b uint32) int { return compareBytes(l.name(int(a)), l.name(int(b))) })
	}
	out.names, out.starts, out.ids = make([]byte, 0, len(l.names)), make([]uint32, 0, len(l.ids)), make([]gitwire.ID, 0, len(l.ids))
	out.tags = make([]tagTarget, 0, len(l.tags))
	for i, from := range order {
		name := l.name(int(from))
		if i+1 < len(order) && string(name) == string(l.name(int(order[i+1]))) {
			continue
		}
		out.add(name, l.ids[from], l.tip(int(from)))
	}
	return out
}

func compareBytes(a, b []byte) int {
	switch {
	case string(a) < string(b):
		return -1
	case string(a) > string(b):
		return 1
	}
	return 0
}

func (l *refList) name(i int) []byte {
	end := len(l.names)
	if i+1 < len(l.starts) {
		end = int(l.starts[i+1])
	}
	return l.names[l.starts[i]:end]
}

// tip returns the object that a reference names.
func (l *refList) tip(i int) gitwire.ID {
	at, ok := slices.BinarySearchFunc(l.tags, uint32(i), func(t tagTarget, i uint32) int { return int(t.index) - int(i) })
	if !ok {
		return l.ids[i]
	}
	return l.tags[at].id
}

// find returns the index of a name, or where it would be inserted.
func (l *refList) find(name string) (i int, ok bool) {
	i = sort.Search(len(l.ids), func(i int) bool { return string(l.name(i)) >= name })
	return i, i < len(l.ids) && string(l.name(i)) == name
}

// A ref is a reference: its full name, its commit (with annotated tags followed), and
// the object that it names.
type ref struct{ name, commit, tip string }

func (l *refList) at(i int) ref {
	return ref{string(l.name(i)), l.ids[i].String(), l.tip(i).String()}
}

// get returns the reference with a name, or the zero ref.
func (rs *refSet) get(name string) ref {
	i, ok := rs.list.find(name)
	if !ok {
		return ref{}
	}
	return rs.list.at(i)
}

// commit returns the commit of a reference, or "".
func (rs *refSet) commit(name string) string { return rs.get(name).commit }

// all returns all references, sorted by name.
func (rs *refSet) all() iter.Seq[ref] { return rs.under("") }

// under returns the references whose names begin with prefix, sorted by name.
func (rs *refSet) under(prefix string) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		i, _ := rs.list.find(prefix)
		for ; i < len(rs.list.ids) && strings.HasPrefix(string(rs.list.name(i)), prefix); i++ {
			if !yield(rs.list.at(i)) {
				return
			}
		}
	}
}

// withHash returns the references whose commits' hashes begin with prefix.
func (rs *refSet) withHash(prefix string) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		var digits [hashDigits]byte
		for i, id := range rs.list.ids {
			hex.Encode(digits[:], id[:])
			if strings.HasPrefix(string(digits[:]), prefix) && !yield(rs.list.at(i)) {
				return
			}
		}
	}
}

// tags returns the names of the tags that begin with prefix, sorted.
func (rs *refSet) tags(prefix string) []string {
	var list []string
	for r := range rs.under(tagsPrefix + prefix) {
		list = append(list, r.name[len(tagsPrefix):])
	}
	return list
}

// tagsOf returns the names of the tags of a commit, sorted.
func (rs *refSet) tagsOf(commit string) []string {
	var list []string
	for r := range rs.withHash(commit) {
		if tag, ok := strings.CutPrefix(r.name, tagsPrefix); ok {
			list = append(list, tag)
		}
	}
	return list
}
