package web

import "fmt"

// drawing is a graph with places. It is made of numbers, and of texts that the template
// escapes.
type drawing struct {
	Class         string
	Width, Height int
	Heads         []label
	Lines         []line
	Boxes         []box
}

// label is a text at a place.
type label struct {
	X, Y int
	Text string
}

// line is an edge: a curve, and the point at its end.
type line struct{ Curve, Point string }

// box is a drawn module.
type box struct {
	X, Y, Width, Height int
	Kind                string // class
	Name                string // of the whole, to be read out
	Link                string // empty: there is no page
	Path, Version       string // as much as there is room for
}

// TextX is where the texts begin.
func (b box) TextX() int { return b.X + boxPadding }

// PathY is the baseline of the path.
func (b box) PathY() int { return b.Y + 19 }

// VersionY is the baseline of the version.
func (b box) VersionY() int { return b.Y + 35 }

// Sizes in a drawing, in pixels.
const (
	boxHeight    = 44
	boxGap       = 10
	boxPadding   = 12
	headHeight   = 26
	letterWidth  = 7.3 // of the path, in a font of fixed width
	narrowWidth  = 320
	narrowMargin = 22
	fullWidth    = 1048
)

// heads are what stands above each column.
var heads = [columns]string{"Required by", "This version", "Requires", "Which require"}

// at draws a module.
func (q *request) at(n *node, x, y, width int) box {
	room := int(float64(width-2*boxPadding) / letterWidth)
	b := box{X: x, Y: y, Width: width, Height: boxHeight, Kind: "node", Name: cut(n.String(), 300), Path: middle(n.Path, room), Version: middle(n.Version.Version, room)}
	switch {
	case n.column == columnSelf:
		b.Kind = "node self"
	case !n.held:
		b.Kind = "node absent"
	default:
		b.Link = q.view.Version(n.Version)
	}
	return b
}

// middle shortens a text of ASCII in its middle.
func middle(s string, most int) string {
	if len(s) <= most {
		return s
	}
	head := most / 3
	return s[:head] + "…" + s[len(s)-(most-head-1):]
}

// stack draws the modules of a column, one below the other, and returns where the next one
// would be.
func (q *request) stack(d *drawing, g *graph, column int, boxes map[*node]box, x, y, width int) int {
	for _, n := range g.nodes {
		if n.column == column {
			boxes[n] = q.at(n, x, y, width)
			d.Boxes = append(d.Boxes, boxes[n])
			y += boxHeight + boxGap
		}
	}
	return y
}

// wide draws a graph from left to right.
func (q *request) wide(g *graph) drawing {
	used, tall := 0, 0
	for c := range columns {
		if n := g.rows(c); n > 0 {
			used, tall = used+1, max(tall, n)
		}
	}
	gap := []int{0, 0, 120, 90, 56}[used]
	width := min((fullWidth-(used-1)*gap)/used, narrowWidth)
	d := drawing{Class: "wide", Width: used*width + (used-1)*gap, Height: headHeight + tall*(boxHeight+boxGap)}
	boxes, x := map[*node]box{}, 0
	for c := range columns {
		rows := g.rows(c)
		if rows == 0 {
			continue
		}
		y := headHeight + (tall-rows)*(boxHeight+boxGap)/2
		d.Heads = append(d.Heads, label{x, y - 10, heads[c]})
		y = q.stack(&d, g, c, boxes, x, y, width)
		if g.more[c] > 0 {
			d.Heads = append(d.Heads, label{x, y + 16, "and " + number(g.more[c]) + " more"})
		}
		x += width + gap
	}
	for _, e := range g.edges {
		a, b := boxes[e[0]], boxes[e[1]]
		x0, y0, x1, y1 := a.X+a.Width, a.Y+boxHeight/2, b.X, b.Y+boxHeight/2
		if e[0].column != e[1].column {
			bend := (x1 - x0) / 2
			d.Lines = append(d.Lines, line{fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x0, y0, x0+bend, y0, x1-bend, y1, x1-5, y1), pointRight(x1, y1)})
		} else {
			d.Lines = append(d.Lines, beside(x0, y0, y1, min(gap/2, 24)))
		}
	}
	return d
}

// narrow draws a graph from top to bottom, without what only requirements require.
func (q *request) narrow(g *graph) drawing {
	const width = narrowWidth - 2*narrowMargin
	d := drawing{Class: "narrow", Width: narrowWidth}
	boxes, y := map[*node]box{}, 0
	for c := range columnFurther {
		if g.rows(c) == 0 {
			continue
		}
		d.Heads = append(d.Heads, label{narrowMargin, y + 16, heads[c]})
		y += headHeight
		y = q.stack(&d, g, c, boxes, narrowMargin, y, width)
		if g.more[c] > 0 {
			d.Heads = append(d.Heads, label{narrowMargin, y + 10, "and " + number(g.more[c]) + " more"})
			y += headHeight
		}
	}
	d.Height = y
	for _, e := range g.edges {
		a, b := boxes[e[0]], boxes[e[1]]
		if a.Width == 0 || b.Width == 0 {
			continue
		}
		y0, y1 := a.Y+boxHeight/2, b.Y+boxHeight/2
		if e[0].column != e[1].column {
			d.Lines = append(d.Lines, line{fmt.Sprintf("M%d %dC0 %d 0 %d %d %d", narrowMargin, y0, y0, y1, narrowMargin-5, y1), pointRight(narrowMargin, y1)})
		} else {
			d.Lines = append(d.Lines, beside(narrowMargin+width, y0, y1, narrowMargin-2))
		}
	}
	return d
}

// rows is how many rows a column takes.
func (g *graph) rows(column int) int { return g.count(column) + min(g.more[column], 1) }

// beside is a line from the right side of a box to that of another below or above it.
func beside(x, y0, y1, bend int) line {
	return line{
		fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x, y0, x+bend, y0, x+bend, y1, x+5, y1),
		fmt.Sprintf("M%d %dl6 -4v8z", x, y1),
	}
}

// pointRight is the point of a line that ends at a box's left side.
func pointRight(x, y int) string { return fmt.Sprintf("M%d %dl-6 -4v8z", x, y) }
