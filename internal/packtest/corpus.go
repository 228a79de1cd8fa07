package packtest

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// A Case is a hostile repository: a pack of a small size, and what its reference
// means.
type Case struct {
	Pack *Maker
	Tip  [20]byte // the commit
}

// Corpus returns packs that cost a server as much as they can, by their names. Each is made
// when it is asked for; scale is one for what an attacker would send, and smaller
// for a quick test.
func Corpus(scale float64) map[string]func() Case {
	n := func(full int) int { return max(2, int(float64(full)*scale)) }
	return map[string]func() Case{
		"attributes that folders share": func() Case {
			return folders(n(300), strings.Repeat("a b\n", n(1<<20)/4))
		},
		"attributes that match slowly": func() Case {
			line := strings.Repeat("*a", 20) + "b x\n"
			return attributes(strings.Repeat(line, n(20_000)), strings.Repeat("a", 100), n(2000), "x")
		},
		"patterns with many stars": func() Case {
			line := strings.Repeat("**/", 100) + "b x\n"
			return attributes(strings.Repeat(line, n(5000)), strings.Repeat("a", 50), n(2000), "x")
		},
		"macros of macros": func() Case {
			var text strings.Builder
			for i := range n(2000) {
				fmt.Fprintf(&text, "[attr]m%d%s\n", i, strings.Repeat(fmt.Sprintf(" m%d", i+1), 100))
			}
			return attributes(text.String()+"* m0\n", "a", n(2000), "x")
		},
		"ident": func() Case {
			return attributes("* ident\n", "a", 3, strings.Repeat("$Id$", n(32<<20)/4))
		},
		"ident without end": func() Case {
			return attributes("* ident\n", "a", 3, "$Id:"+strings.Repeat("a", n(200<<20)))
		},
		"encoding": func() Case {
			return attributes("* working-tree-encoding=UTF-32\n", "a", 3, strings.Repeat("a", n(100<<20)))
		},
		"ident and encoding": func() Case {
			return attributes("* ident working-tree-encoding=UTF-32\n", "a", 3, strings.Repeat("$Id$\n", n(20<<20)/5))
		},
		"many blobs":   func() Case { return blobs(n(5_000_000)) },
		"many deltas":  func() Case { return deltas(n(5_000_000)) },
		"many commits": func() Case { return commits(n(2_000_000)) },
		"deltas that work": func() Case {
			return chain(n(4000), 4<<20)
		},
		"deltas by name":  func() Case { return named(n(200_000)) },
		"a wide tree":     func() Case { return wide(n(2_000_000)) },
		"trees in trees":  func() Case { return deep(n(40), 30) },
		"long names":      func() Case { return names(n(500), 60_000) },
		"a huge commit":   func() Case { return hugeCommit(n(60 << 20)) },
		"a huge go.mod":   func() Case { return new(Maker).LargeMod(n(15 << 20)) },
		"many parents":    func() Case { return parents(n(1_000_000)) },
		"a chain of tags": func() Case { return tags(n(100_000)) },
	}
}

// commitOf adds a commit of a tree and returns its case.
func (p *Maker) commitOf(tree [20]byte) Case {
	tip := p.Object(Commit, fmt.Appendf(nil, "tree %x\nauthor a <a> 1600000000 +0000\ncommitter a <a> 1600000000 +0000\n\n", tree))
	return Case{p, tip}
}

// TreeEntry is one entry of a tree, as it is stored.
func TreeEntry(mode, name string, object [20]byte) []byte {
	return append([]byte(mode+" "+name+"\x00"), object[:]...)
}

const goMod = "module corp.test/m\n"

func folders(count int, attributes string) Case {
	p := new(Maker)
	mod := p.Object(Blob, []byte(goMod))
	shared := p.Object(Blob, []byte(attributes))
	inner := p.Object(Tree, append(TreeEntry("100644", ".gitattributes", shared), TreeEntry("100644", "a.go", mod)...))
	var root bytes.Buffer
	for i := range count {
		root.Write(TreeEntry("40000", fmt.Sprintf("d%06d", i), inner))
	}
	root.Write(TreeEntry("100644", "go.mod", mod))
	return p.commitOf(p.Object(Tree, root.Bytes()))
}

func attributes(text, name string, count int, content string) Case {
	p := new(Maker)
	mod := p.Object(Blob, []byte(goMod))
	file := p.Object(Blob, []byte(content))
	var root bytes.Buffer
	root.Write(TreeEntry("100644", ".gitattributes", p.Object(Blob, []byte(text))))
	for i := range count {
		root.Write(TreeEntry("100644", fmt.Sprintf("%s%d.txt", name, i), file))
	}
	root.Write(TreeEntry("100644", "go.mod", mod))
	return p.commitOf(p.Object(Tree, root.Bytes()))
}

func (p *Maker) simple() Case {
	return p.commitOf(p.Object(Tree, TreeEntry("100644", "go.mod", p.Object(Blob, []byte(goMod)))))
}

func blobs(count int) Case {
	p := new(Maker)
	for range count - 3 {
		p.repeat(Blob)
	}
	return p.simple()
}

func commits(count int) Case {
	p := new(Maker)
	tree := p.Object(Tree, TreeEntry("100644", "go.mod", p.Object(Blob, []byte(goMod))))
	var tip [20]byte
	var text []byte
	for i := range count {
		text = append(hex.AppendEncode(append(text[:0], "tree "...), tree[:]), '\n')
		if i > 0 {
			text = append(hex.AppendEncode(append(text, "parent "...), tip[:]), '\n')
		}
		tip = p.Object(Commit, append(text, "committer a <a> 1600000000 +0000\n\n"...))
	}
	return Case{p, tip}
}

// repeat adds an empty object, fast.
func (p *Maker) repeat(kind int) {
	p.head(kind, 0)
	p.body.Write([]byte{0x78, 0x9c, 0x03, 0, 0, 0, 0, 1})
}

func deltas(count int) Case {
	p := new(Maker)
	p.Object(Blob, []byte("x"))
	delta := []byte{1, 1, 0x90, 1}
	for i := range count {
		back := 1
		if i%4000 == 3999 {
			back = 4000
		}
		p.Add(OffsetDelta, len(delta), delta, back)
	}
	return p.simple()
}

// chain is a chain of deltas, each of them a whole copy of a large object.
func chain(count, size int) Case {
	p := new(Maker)
	p.Add(Blob, size, bytes.Repeat([]byte("x"), size), 0)
	delta := append(Number(size), Number(size)...)
	delta = append(delta, 1, 'y')
	for left := size - 1; left > 0; left -= min(left, 1<<16) {
		part := min(left, 1<<16)
		if part == 1<<16 {
			delta = append(delta, 0x80)
		} else {
			delta = append(delta, 0xb0, byte(part), byte(part>>8))
		}
	}
	for range count {
		p.Add(OffsetDelta, len(delta), delta, 1)
	}
	return p.simple()
}

func named(count int) Case {
	p := new(Maker)
	delta := []byte{1, 1, 0x90, 1}
	for range count {
		p.AddNamed(Name(Blob, []byte("x")), delta)
	}
	p.Object(Blob, []byte("x"))
	return p.simple()
}

func wide(count int) Case {
	p := new(Maker)
	mod := p.Object(Blob, []byte(goMod))
	var root bytes.Buffer
	for i := range count {
		root.Write(TreeEntry("100644", fmt.Sprintf("%x", i), mod))
	}
	root.Write(TreeEntry("100644", "go.mod", mod))
	return p.commitOf(p.Object(Tree, root.Bytes()))
}

// deep is a tree whose folders are each other's, so that there are width to the
// power of depth of them.
func deep(depth, width int) Case {
	p := new(Maker)
	mod := p.Object(Blob, []byte(goMod))
	tree := p.Object(Tree, TreeEntry("100644", "a.go", mod))
	for range depth {
		var next bytes.Buffer
		for i := range width {
			next.Write(TreeEntry("40000", fmt.Sprintf("d%02d", i), tree))
		}
		tree = p.Object(Tree, next.Bytes())
	}
	return p.commitOf(p.Object(Tree, append(TreeEntry("40000", "d", tree), TreeEntry("100644", "go.mod", mod)...)))
}

func names(count, length int) Case {
	p := new(Maker)
	mod := p.Object(Blob, []byte(goMod))
	var root bytes.Buffer
	for i := range count {
		root.Write(TreeEntry("100644", strings.Repeat("n", length)+fmt.Sprint(i), mod))
	}
	root.Write(TreeEntry("100644", "go.mod", mod))
	return p.commitOf(p.Object(Tree, root.Bytes()))
}

func hugeCommit(size int) Case {
	p := new(Maker)
	tree := p.Object(Tree, TreeEntry("100644", "go.mod", p.Object(Blob, []byte(goMod))))
	tip := p.Object(Commit, fmt.Appendf(nil, "tree %x\ncommitter a <%s> 1600000000 +0000\n\n", tree, strings.Repeat("a", size)))
	return Case{p, tip}
}

func parents(count int) Case {
	p := new(Maker)
	tree := p.Object(Tree, TreeEntry("100644", "go.mod", p.Object(Blob, []byte(goMod))))
	line := fmt.Sprintf("parent %x\n", tree)
	tip := p.Object(Commit, fmt.Appendf(nil, "tree %x\n%scommitter a <a> 1600000000 +0000\n\n", tree, strings.Repeat(line, count)))
	return Case{p, tip}
}

func tags(count int) Case {
	p := new(Maker)
	c := p.simple()
	tip := c.Tip
	for range count {
		tip = p.Object(Tag, fmt.Appendf(nil, "object %x\ntype commit\ntag v1.0.0\ntagger a <a> 1600000000 +0000\n\n", tip))
	}
	return Case{p, tip}
}

// Sound finishes a pack that is a small module.
func (p *Maker) Sound() Case { return p.simple() }

// LargeMod is a module with a go.mod of about so many bytes.
func (p *Maker) LargeMod(size int) Case {
	mod := append([]byte("module large.test/m\n"), bytes.Repeat([]byte("// This line says nothing.\n"), size/27)...)
	return p.commitOf(p.Object(Tree, TreeEntry("100644", "go.mod", p.Object(Blob, mod))))
}
