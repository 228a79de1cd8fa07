package web

import (
	"bytes"
	"fmt"
	"html/template"
	"net/url"
	"path"
	"regexp"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer"
	"github.com/yuin/goldmark/util"
)

// maxReadme is the most bytes of a README that are rendered; what is larger, or made to be
// slow, is shown as text.
const maxReadme = 256 << 10

// renderReadme makes HTML of a README. Nothing in it can run, load or look like a part of
// the page: raw HTML becomes its text, images their descriptions, and links lead to files of
// the version, which fileURL names, or to http, https and mailto.
func renderReadme(name, text string, fileURL func(file string) string) (out template.HTML) {
	plain := template.HTML("<pre>" + template.HTMLEscapeString(text) + "</pre>") //nolint:gosec // it is escaped
	ext := strings.ToLower(path.Ext(name))
	if ext != ".md" && ext != ".markdown" || len(text) > maxReadme || slow(text) {
		return plain
	}
	defer func() {
		if recover() != nil { // a mistake of the renderer must not take the page away
			out = plain
		}
	}()
	ours := &readmeRenderer{fileURL: fileURL}
	md := goldmark.New(
		goldmark.WithExtensions(extension.Table, extension.Strikethrough, extension.TaskList),
		goldmark.WithParserOptions(parser.WithAutoHeadingID()),
		goldmark.WithRendererOptions(renderer.WithNodeRenderers(util.Prioritized(ours, 1))),
	)
	var b bytes.Buffer
	ctx := parser.NewContext(parser.WithIDs(&headingIDs{seen: make(map[string]int)}))
	if err := md.Convert([]byte(text), &b, parser.WithContext(ctx)); err != nil {
		return plain
	}
	return template.HTML(b.String()) //nolint:gosec // see above
}

// slow reports whether a text has what costs a renderer more than its length: long runs of
// characters that open something, and deep nesting. No README that people write has it.
func slow(text string) bool {
	for line := range strings.Lines(text) {
		if len(line) > 20_000 {
			return true
		}
		openers := 0
		for _, c := range line {
			if strings.ContainsRune("[]<>*_`~!&(\\", c) {
				openers++
			}
		}
		if openers > 1000 {
			return true
		}
		lead := line[:len(line)-len(strings.TrimLeft(line, " \t>-*+0123456789.)"))]
		if len(lead) > 200 && strings.Trim(lead, "-* \n") != "" || strings.Count(lead, ">") > 20 {
			return true
		}
	}
	if strings.Count(text, "\n") > 8000 {
		return true
	}
	total := 0
	for _, c := range "[<*_`~" {
		total += strings.Count(text, string(c))
	}
	return total > 30_000
}

// headingIDs gives the headings of a README ids that nothing else on the page has.
type headingIDs struct{ seen map[string]int }

// Generate is for goldmark.
func (ids *headingIDs) Generate(value []byte, _ ast.NodeKind) []byte {
	id := "r-" + strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, cut(string(value), 100))
	n := ids.seen[id]
	ids.seen[id]++
	if n > 0 {
		id = fmt.Sprintf("%s-%d", id, n)
	}
	return []byte(id)
}

// Put is for goldmark.
func (ids *headingIDs) Put([]byte) {}

// readmeRenderer renders what could do harm.
type readmeRenderer struct {
	fileURL func(file string) string
}

// RegisterFuncs is for goldmark.
func (r *readmeRenderer) RegisterFuncs(reg renderer.NodeRendererFuncRegisterer) {
	reg.Register(ast.KindImage, r.image)
	reg.Register(ast.KindLink, r.link)
	reg.Register(ast.KindAutoLink, r.autoLink)
	reg.Register(ast.KindRawHTML, func(util.BufWriter, []byte, ast.Node, bool) (ast.WalkStatus, error) {
		return ast.WalkSkipChildren, nil
	})
	reg.Register(ast.KindHTMLBlock, r.htmlBlock)
	reg.Register(ast.KindHeading, r.heading)
	reg.Register(ast.KindFencedCodeBlock, code)
	reg.Register(ast.KindCodeBlock, code)
}

// image shows the description alone: whoever loads a picture is seen by its host.
func (r *readmeRenderer) image(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if entering {
		_, _ = w.WriteString(`<span class="image">`)
		if n.FirstChild() == nil {
			_, _ = w.WriteString("image")
		}
	} else {
		_, _ = w.WriteString(`</span>`)
	}
	return ast.WalkContinue, nil
}

func (r *readmeRenderer) link(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	to, ok := r.target(string(n.(*ast.Link).Destination))
	switch {
	case !ok:
	case entering:
		_, _ = fmt.Fprintf(w, `<a href="%s" rel="nofollow noopener noreferrer">`, template.HTMLEscapeString(to))
	default:
		_, _ = w.WriteString("</a>")
	}
	return ast.WalkContinue, nil
}

func (r *readmeRenderer) autoLink(w util.BufWriter, source []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	link := n.(*ast.AutoLink)
	to := string(link.URL(source))
	if link.AutoLinkType == ast.AutoLinkEmail && !strings.HasPrefix(to, "mailto:") {
		to = "mailto:" + to
	}
	label := template.HTMLEscapeString(string(link.Label(source)))
	if to, ok := r.target(to); ok {
		_, _ = fmt.Fprintf(w, `<a href="%s" rel="nofollow noopener noreferrer">%s</a>`, template.HTMLEscapeString(to), label)
	} else {
		_, _ = w.WriteString(label)
	}
	return ast.WalkContinue, nil
}

// target returns where a link may lead.
func (r *readmeRenderer) target(to string) (string, bool) {
	u, err := url.Parse(strings.TrimSpace(to))
	if err != nil || strings.ContainsFunc(to, unicode.IsControl) {
		return "", false
	}
	switch u.Scheme {
	case "http", "https":
		return u.String(), u.Host != ""
	case "mailto":
		return u.String(), true
	case "":
	default:
		return "", false
	}
	switch {
	case u.Host != "" || u.User != nil:
		return "", false // another host by the scheme of this page
	case u.Path == "" && u.Fragment != "":
		return "#r-" + url.PathEscape(strings.ToLower(u.Fragment)), true
	case u.Path == "":
		return "", false
	}
	file := strings.TrimPrefix(path.Clean("/"+u.Path), "/")
	if file == "" {
		return "", false
	}
	return r.fileURL(file), true
}

// tags are what is left out of raw HTML.
var tags = regexp.MustCompile(`(?s)<!--.*?-->|<(?:style|script)[^>]*>.*?</(?:style|script)>|<[^>]*>`)

// htmlBlock shows the text of raw HTML.
func (r *readmeRenderer) htmlBlock(w util.BufWriter, source []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	var raw strings.Builder
	lines := n.Lines()
	for i := range lines.Len() {
		line := lines.At(i)
		_, _ = raw.Write(line.Value(source))
	}
	if text := strings.Join(strings.Fields(tags.ReplaceAllString(raw.String(), " ")), " "); text != "" {
		_, _ = fmt.Fprintf(w, "<p>%s</p>\n", template.HTMLEscapeString(text))
	}
	return ast.WalkContinue, nil
}

// heading is one level below that of the page's sections.
func (r *readmeRenderer) heading(w util.BufWriter, _ []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	level := min(n.(*ast.Heading).Level+2, 6)
	if !entering {
		_, _ = fmt.Fprintf(w, "</h%d>\n", level)
		return ast.WalkContinue, nil
	}
	_, _ = fmt.Fprintf(w, "<h%d", level)
	if id, ok := n.AttributeString("id"); ok {
		if id, ok := id.([]byte); ok {
			_, _ = fmt.Fprintf(w, ` id="%s"`, template.HTMLEscapeString(string(id)))
		}
	}
	_, _ = w.WriteString(">")
	return ast.WalkContinue, nil
}

// code is a block that the keyboard can scroll.
func code(w util.BufWriter, source []byte, n ast.Node, entering bool) (ast.WalkStatus, error) {
	if !entering {
		return ast.WalkContinue, nil
	}
	_, _ = w.WriteString(`<pre tabindex="0"><code>`)
	lines := n.Lines()
	for i := range lines.Len() {
		line := lines.At(i)
		_, _ = w.WriteString(template.HTMLEscapeString(string(line.Value(source))))
	}
	_, _ = w.WriteString("</code></pre>\n")
	return ast.WalkSkipChildren, nil
}
