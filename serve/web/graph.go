package web

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/mod/module"
)

// How many modules a drawing has at most. The lists beside it have the others.
const (
	maxDrawn   = 8   // on each side
	maxFurther = 8   // that only requirements require
	maxEdges   = 100 // between requirements
)

// Columns of a drawing, from left to right.
const (
	columnDependents = iota
	columnSelf
	columnRequired
	columnFurther
	columns
)

// graph is a module, what it requires and what requires it, of what the reader may see.
type graph struct {
	nodes []*node
	edges [][2]*node // from what requires to what is required
	more  [columns]int

	Wide, Narrow drawing
	Required     int  // drawn or not
	Dependents   int  // drawn or not
	Dashed       bool // some nodes are not held
	Partial      bool // some modules are not drawn
}

// node is a module in a graph.
type node struct {
	module.Version
	held   bool
	column int
}

// graphOf returns the graph of a module, or nil if there is nothing to draw. Requires is what
// its go.mod requires itself.
func (q *request) graphOf(d *moduleData, requires []module.Version) *graph {
	g := &graph{Dependents: len(d.Dependents)}
	self := g.add(d.Module, true, columnSelf)
	for _, m := range d.Dependents {
		if m.Path == d.Module.Path {
			continue // its highest version requires another of its own
		}
		if n := g.add(m, true, columnDependents); n != nil {
			g.edges = append(g.edges, [2]*node{n, self})
		}
	}
	var drawn []*node
	for _, m := range requires[:min(len(requires), maxRequires)] {
		if m.Path == d.Module.Path || !q.sees(m.Path) {
			continue
		}
		g.Required++
		if n := g.add(m, q.holds(m), columnRequired); n != nil {
			drawn = append(drawn, n)
			g.edges = append(g.edges, [2]*node{self, n})
		}
	}
	if len(g.nodes) == 1 {
		return nil
	}
	q.among(g, drawn)
	for _, n := range g.nodes {
		g.Dashed = g.Dashed || !n.held
	}
	g.Partial = g.more[columnDependents] > 0 || g.more[columnRequired] > 0
	g.Wide, g.Narrow = q.wide(g), q.narrow(g)
	return g
}

// add adds a module, or returns nil if its column is full.
func (g *graph) add(m module.Version, held bool, column int) *node {
	most := maxDrawn
	if column == columnFurther {
		most = maxFurther
	}
	if g.count(column) == most {
		g.more[column]++
		return nil
	}
	n := &node{m, held, column}
	g.nodes = append(g.nodes, n)
	return n
}

// count is how many modules a column has.
func (g *graph) count(column int) (n int) {
	for _, some := range g.nodes {
		if some.column == column {
			n++
		}
	}
	return n
}

// holds reports whether the index has a version.
func (q *request) holds(m module.Version) bool {
	h, ok := q.index.get(m.Path)
	return ok && slices.Contains(strings.Fields(h.versions), m.Version)
}

// among adds what the drawn requirements require in their turn.
func (q *request) among(g *graph, drawn []*node) {
	if q.heavy.Acquire(q.ctx) != nil {
		return // the server is busy
	}
	defer q.heavy.Release()
	edges := 0
	for _, from := range drawn {
		if !from.held {
			continue
		}
		mod, err := q.readMod(q.ctx, from.Version)
		if err != nil {
			continue
		}
		requires := parseMod(mod).requires
		for _, m := range requires[:min(len(requires), maxRequires)] {
			if edges == maxEdges || !q.sees(m.Path) {
				continue
			}
			i := slices.IndexFunc(g.nodes, func(n *node) bool { return n.column >= columnRequired && n.Path == m.Path })
			var to *node
			if i >= 0 {
				to = g.nodes[i]
			} else if m.Path != g.nodes[0].Path {
				to = g.add(m, q.holds(m), columnFurther)
			}
			if to != nil && to != from {
				g.edges = append(g.edges, [2]*node{from, to})
				edges++
			}
		}
	}
}

// Label says in words what a drawing shows.
func (g *graph) Label() string {
	return fmt.Sprintf("%s requires %s, and %s here require it. The lists on this page name them.", g.nodes[0].Version, count(g.Required, "module"), count(g.Dependents, "module"))
}
