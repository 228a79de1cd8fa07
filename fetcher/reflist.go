package fetcher

import (
	"bytes"
	"encoding/hex"
	"iter"
	"slices"
	"sort"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
)

// A refList stores references, sorted by name, in little more memory than their names
// and hashes: some repositories have a million of them. They stay in the order in which
// they were added; an index sorts them if that is another one.
type refList struct {
	names  []byte   // concatenated
	starts []uint32 // of each name in names
	ids    []gitwire.ID
	tags   []tagTarget // of annotated tags, by place
	mixed  bool        // the names were not added in order
	order  []uint32    // places in the order of names; nil if they were added in that order
}

// A tagTarget is the tag object that a reference names; ids has its commit.
type tagTarget struct {
	place uint32
	id    gitwire.ID
}

const (
	refBytes = 4 + 20 // for each reference, beside its name
	tagBytes = 4 + 20 // for each annotated tag, beside that
)

// bytes returns the memory that the list takes.
func (l *refList) bytes() int64 {
	return int64(cap(l.names)) + 4*int64(cap(l.starts)+cap(l.order)) + 20*int64(cap(l.ids)) + tagBytes*int64(cap(l.tags))
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

// sort sorts the list, to which nothing is added any more. Of several references with the
// same name it keeps the last.
func (l *refList) sort() *refList {
	if l.mixed {
		order := make([]uint32, len(l.ids))
		for i := range order {
			order[i] = uint32(i)
		}
		slices.SortStableFunc(order, func(a, b uint32) int { return bytes.Compare(l.name(int(a)), l.name(int(b))) })
		kept := order[:0]
		for i, place := range order {
			if i+1 == len(order) || string(l.name(int(place))) != string(l.name(int(order[i+1]))) {
				kept = append(kept, place)
			}
		}
		l.order = kept
	}
	l.names, l.starts, l.ids, l.tags = fitted(l.names), fitted(l.starts), fitted(l.ids), fitted(l.tags)
	return l
}

// fitted returns s without most of the room that it has grown in advance.
func fitted[T any](s []T) []T {
	if cap(s)-len(s) > len(s)/16 {
		return append(make([]T, 0, len(s)), s...)
	}
	return s
}

// name is the name at a place.
func (l *refList) name(place int) []byte {
	end := len(l.names)
	if place+1 < len(l.starts) {
		end = int(l.starts[place+1])
	}
	return l.names[l.starts[place]:end]
}

// tip returns the object that the reference at a place names.
func (l *refList) tip(place int) gitwire.ID {
	at, ok := slices.BinarySearchFunc(l.tags, uint32(place), func(t tagTarget, place uint32) int { return int(t.place) - int(place) })
	if !ok {
		return l.ids[place]
	}
	return l.tags[at].id
}

// len returns the number of references.
func (l *refList) len() int {
	if l.order != nil {
		return len(l.order)
	}
	return len(l.ids)
}

// place returns the place of the reference with an index in the order of names.
func (l *refList) place(i int) int {
	if l.order != nil {
		return int(l.order[i])
	}
	return i
}

// find returns the index of a name, or where it would be inserted.
func (l *refList) find(name string) (i int, ok bool) {
	i = sort.Search(l.len(), func(i int) bool { return string(l.name(l.place(i))) >= name })
	return i, i < l.len() && string(l.name(l.place(i))) == name
}

// under returns the places of the names that begin with prefix, in order.
func (l *refList) under(prefix string) iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, _ := l.find(prefix); i < l.len(); i++ {
			place := l.place(i)
			if !bytes.HasPrefix(l.name(place), []byte(prefix)) || !yield(place) {
				return
			}
		}
	}
}

// A ref is a reference: its full name, its commit (with annotated tags followed), and
// the object that it names.
type ref struct{ name, commit, tip string }

func (l *refList) at(place int) ref {
	return ref{string(l.name(place)), l.ids[place].String(), l.tip(place).String()}
}

// get returns the reference with a name, or the zero ref.
func (rs *refSet) get(name string) ref {
	i, ok := rs.list.find(name)
	if !ok {
		return ref{}
	}
	return rs.list.at(rs.list.place(i))
}

// commit returns the commit of a reference, or "".
func (rs *refSet) commit(name string) string { return rs.get(name).commit }

// all returns all references, sorted by name.
func (rs *refSet) all() iter.Seq[ref] { return rs.under("") }

// under returns the references whose names begin with prefix, sorted by name.
func (rs *refSet) under(prefix string) iter.Seq[ref] {
	return func(yield func(ref) bool) {
		for place := range rs.list.under(prefix) {
			if !yield(rs.list.at(place)) {
				return
			}
		}
	}
}

// withHash returns the places of the references whose commits' hashes begin with prefix,
// sorted by name.
func (rs *refSet) withHash(prefix string) iter.Seq[int] {
	return func(yield func(int) bool) {
		var digits [hashDigits]byte
		for i := range rs.list.len() {
			place := rs.list.place(i)
			hex.Encode(digits[:], rs.list.ids[place][:])
			if bytes.HasPrefix(digits[:], []byte(prefix)) && !yield(place) {
				return
			}
		}
	}
}

// tags returns the names of the tags that begin with prefix, sorted.
func (rs *refSet) tags(prefix string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for place := range rs.list.under(tagsPrefix + prefix) {
			if !yield(string(rs.list.name(place)[len(tagsPrefix):])) {
				return
			}
		}
	}
}

// tagsOf returns the names of the tags of a commit, sorted.
func (rs *refSet) tagsOf(commit string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for place := range rs.withHash(commit) {
			if tag, ok := bytes.CutPrefix(rs.list.name(place), []byte(tagsPrefix)); ok && !yield(string(tag)) {
				return
			}
		}
	}
}

// tagged are tags by the commits that they mean.
type tagged struct {
	list   *refList
	places []uint32 // sorted by commit
}

// byCommit returns the tags that begin with prefix and that allowed accepts.
func (rs *refSet) byCommit(prefix string, allowed func(tag string) bool) tagged {
	t := tagged{list: rs.list}
	for place := range rs.list.under(tagsPrefix + prefix) {
		if allowed(string(rs.list.name(place)[len(tagsPrefix):])) {
			t.places = append(t.places, uint32(place))
		}
	}
	slices.SortStableFunc(t.places, func(a, b uint32) int { return bytes.Compare(rs.list.ids[a][:], rs.list.ids[b][:]) })
	return t
}

// of returns the tags of a commit.
func (t tagged) of(commit string) iter.Seq[string] {
	return func(yield func(string) bool) {
		id, _ := gitwire.ParseID(commit)
		i, _ := slices.BinarySearchFunc(t.places, id, func(place uint32, id gitwire.ID) int { return bytes.Compare(t.list.ids[place][:], id[:]) })
		for ; i < len(t.places) && t.list.ids[t.places[i]] == id; i++ {
			if !yield(string(t.list.name(int(t.places[i]))[len(tagsPrefix):])) {
				return
			}
		}
	}
}
