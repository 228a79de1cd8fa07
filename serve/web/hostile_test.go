package web

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"html"
	"io"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
)

// allowed is the only HTML that a README can become: these elements, with these attributes.
var allowed = regexp.MustCompile(`^</?(?:h[3-6](?: id="r-[^"<>]*")?|p|em|strong|del|code|ul|ol(?: start="\d+")?|li|blockquote|hr|br|table|thead|tbody|tr|t[hd](?: (?:align="\w+"|style="text-align:\w+"))?|` +
	`pre(?: tabindex="0")?|span class="image"|span|a(?: href="[^"<>]*" rel="nofollow noopener noreferrer")?|input (?:checked="" )?disabled="" type="checkbox") ?/?>$`)

var (
	element = regexp.MustCompile(`<[^>]*>?`)
	href    = regexp.MustCompile(`href="([^"]*)"`)
)

// checkReadme tells what is in HTML that must not be.
func checkReadme(t testing.TB, name, out string) {
	t.Helper()
	for _, tag := range element.FindAllString(out, -1) {
		assert.Regexp(t, allowed, tag, name)
	}
	for _, link := range href.FindAllStringSubmatch(out, -1) {
		to := html.UnescapeString(link[1])
		assert.Regexp(t, `^(?:https?://[^/]|mailto:|#r-|/file/)`, to, name)
	}
}

func fileLink(file string) string { return "/file/" + escapePath(file) }

// What a README tries.
var payloads = []string{
	"<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a <b onmouseover=alert(1)>b</b> <svg/onload=alert(1)>", "<svg><script>alert(1)</script></svg>",
	"[x](javascript:alert(1))", "[x](JaVaScRiPt:alert(1))", "[x](java\tscript:alert(1))", "[x](&#106;avascript:alert(1))", "[x](<javascript:alert(1)>)",
	"[x](data:text/html;base64,PHNjcmlwdD4=)", "[x](vbscript:x)", "[x](file:///etc/passwd)", "[x](//evil.test/x)", "[x](\\\\evil.test\\x)", "[x](http:evil)", "[x](/\\evil.test)",
	"![x](https://evil.test/pixel.png)", "![x](javascript:alert(1))", "![](x \"onload=alert(1)\")", "[![b](https://evil.test/b.svg)](https://evil.test)",
	"<javascript:alert(1)>", "<https://evil.test/\"onmouseover=alert(1)>", "<mailto:a@b.test\"x>", "[x](https://evil.test/\"><script>alert(1)</script>)",
	"[a]: javascript:alert(1)\n\n[a]", "[a]: https://evil.test/ \"x\\\" onclick=alert(1)\"\n\n[a]", "# x <script>\n## \" onclick=\"x", "# main\n# main\n# main",
	"```\"><script>alert(1)</script>\nx\n```", "```html\n<script>alert(1)</script>\n```", "    <script>alert(1)</script>", "`<script>`", "<style>*{display:none}</style>", "<style>\n* {}\n</style>",
	"<base href=//evil.test>", "<meta http-equiv=refresh content='0;url=//evil.test'>", "<form action=//evil.test><input name=q>", "<iframe srcdoc='<script>alert(1)</script>'>",
	"</div></main><h1>Log in again</h1>", "<!-- --><script>alert(1)</script>", "<!--><script>alert(1)</script>-->", "<?php x ?>", "<![CDATA[<script>alert(1)</script>]]>", "<!DOCTYPE x>",
	"<div\n<script>alert(1)</script>", "<div title='>'><img src=x onerror=alert(1)>", "<<script>script>alert(1)<</script>/script>", "<p <script>alert(1)", "| a | b |\n|:-:|--:|\n| <script> | [x](javascript:x) |",
	"- [ ] <script>\n- [x] y", "[x](../../../../etc/passwd)", "[x](/-/fills/retry)", "[x](?q=1)", "[x](#main)", "[x](#\"><b>)", "[x](https://user:pw@evil.test/)", "a\x00b<\x00script>", "\xff\xfe<script>",
	"[x](https://)", "[x](mailto:a@b?body=<x>)", "&lt;script&gt;alert(1)&lt;/script&gt;", "[\u202ex](https://evil.test)", "<a href=x id=main name=body>clobber</a>",
	"[x](javascript&colon;alert(1))", "[x]( javascript:alert(1))", "[x](\x01javascript:alert(1))", "<x onclick=alert(1)\n>", "~~<script>~~", "1. <script>\n2. x\n\n7) y",
}

func TestHostileReadmes(t *testing.T) {
	for _, p := range payloads {
		for _, text := range []string{p, "> " + p, "* " + p, "text " + p + " text", "# " + p, p + "\n\n" + p, "[" + p + "](https://x.test)"} {
			checkReadme(t, text, string(renderReadme("README.md", text, fileLink)))
		}
		out := string(renderReadme("README.txt", p, fileLink))
		assert.Equal(t, "<pre>"+html.EscapeString(p)+"</pre>", strings.ReplaceAll(out, "\uFFFD", "\x00"), "text stays text")
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var b strings.Builder
		for range 1 + random.IntN(4) {
			p := payloads[random.IntN(len(payloads))]
			b.WriteString(p[random.IntN(len(p)):])
			b.WriteString([]string{"", "\n", "\n\n", " ", "*", "[", "]("}[random.IntN(7)])
		}
		checkReadme(t, b.String(), string(renderReadme("README.md", b.String(), fileLink)))
	}
}

func FuzzReadme(f *testing.F) {
	for _, p := range payloads {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkReadme(t, text, string(renderReadme("README.md", text, fileLink)))
	})
}

// A README takes a time that is in proportion to its size, whatever it is made of.
func TestReadmesAreFast(t *testing.T) {
	for _, unit := range []string{
		"[", "![", "](", "[a](", "[a][", "<", "<a", "<!--", "<![CDATA[", "<?", "`", "`a", "``", "*", "*a", "**a", "_a ", "*a_", "~~a", ">", "> ", "- ", "* ", "1. ", "\t", "#", "# a\n", "a\n", "|a", "|a|\n|-|\n", "&", "&#", "\\", "\n", "\r",
		"a**b", "[a]: b\n", "[a]:", "[a]\n", "> a\n> ", ">\n", "-\n", "  -\n", "http://", "a@b.c ", "<a@b.c>", "\x00", "é", "~~~\n", "```\n", "=\n", "a\n=\n", "(", "[a](b", "[x]: /\n[x]\n", "***a ", "<b>\n\n", "- a\n\n", "*a **b ", "`` ` ",
	} {
		for _, text := range []string{
			strings.Repeat(unit, maxReadme/len(unit)),
			strings.Repeat(unit, (15<<10)/len(unit)),
			strings.Repeat(strings.Repeat(unit, 20)+"\n", (32<<10)/(20*len(unit)+1)),
			strings.Repeat(strings.Repeat(unit, 900/len(unit))+"\n\n", 40),
		} {
			began := time.Now()
			_ = renderReadme("README.md", text, fileLink)
			assert.Less(t, time.Since(began), time.Minute, "%q repeated", unit)
		}
	}
}

// Names of files and texts of a version stay text on every page.
func TestHostileVersions(t *testing.T) {
	s := newShown(t, nil, nil)
	v := modtest.NewVersion(t, "example.com/evil", "v1.0.0", map[string]string{
		"go.mod":        "// Deprecated: <script>alert(1)</script>\nmodule example.com/evil\n\nretract v1.0.0 // <img src=x onerror=alert(1)>\n",
		"README.md":     "<script>alert(1)</script>",
		"x{{.Name}}.go": "</td><script>alert(1)</script>{{.Name}}\x1b[31m",
		"LICENSE":       "<script>alert(1)</script>",
	})
	athenstest.Hold(t, s.store, v, true)
	for _, path := range []string{"/-/m/example.com/evil", "/-/f/example.com/evil@v1.0.0/", "/-/f/example.com/evil@v1.0.0/x%7B%7B.Name%7D%7D.go", "/-/d/example.com/evil@v1.0.0..v1.0.0", "/-/modules?q=%3Cscript%3Ealert(1)%3C/script%3E"} {
		page := s.page(path)
		assert.NotContains(t, page, "<script>alert", path)
		assert.NotContains(t, page, "<img", path)
	}
}

// A zip that was in the store before, and that nobody checked, costs no more than one that
// was.
func TestHostileZips(t *testing.T) {
	bomb := func() []byte {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		f, err := w.Create("example.com/bomb@v1.0.0/README.md")
		require.NoError(t, err)
		for chunk := make([]byte, 1<<20); b.Len() < 8<<10; {
			_, err = f.Write(chunk)
			require.NoError(t, err)
		}
		for _, name := range []string{"example.com/bomb@v1.0.0/../../x.go", "/etc/passwd", "example.com/bomb@v1.0.0//x", "example.com/other@v1.0.0/x.go", "example.com/bomb@v1.0.0/"} {
			_, err = w.Create(name)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return b.Bytes()
	}()
	a := &archive{m: module.Version{Path: "example.com/bomb", Version: "v1.0.0"}, prefix: "example.com/bomb@v1.0.0/"}
	a.object = &athens.Object{Body: body{bytes.NewReader(bomb)}, Size: int64(len(bomb))}
	require.NoError(t, a.read())
	require.Len(t, a.files, 1, "the others are outside of the module")
	_, err := a.text(a.files[0], maxShown)
	require.ErrorIs(t, err, errTooLarge)

	end := make([]byte, 22)
	copy(end, "PK\x05\x06")
	binary.LittleEndian.PutUint16(end[8:], 65535)
	binary.LittleEndian.PutUint16(end[10:], 65535)
	for _, raw := range [][]byte{nil, []byte("PK"), end, append(make([]byte, 1<<20), end...), bytes.Repeat([]byte("PK\x05\x06"), 1000), bomb[:len(bomb)-10]} {
		a.object = &athens.Object{Body: body{bytes.NewReader(raw)}, Size: int64(len(raw))}
		assert.Error(t, a.read())
	}
}

// body is a stored file that can only be read and sought.
type body struct{ *bytes.Reader }

func (body) Close() error { return nil }

// ReadAt is hidden from the reader of zips.
func (b body) ReadAt() {}

var _ io.ReadSeekCloser = body{}

// What a go.mod says stays text in the drawing of its requirements, which has a bounded number
// of modules whatever the go.mod says.
func TestHostileRequirements(t *testing.T) {
	tag := regexp.MustCompile(`</?(\w+)`)
	for name, requires := range map[string]string{
		"markup":     `"<script>alert(1)</script>" v1.0.0`,
		"attribute":  "`x.test/\"onload=alert(1)` v1.0.0",
		"version":    `x.test/a "v1.0.0-<svg/onload=alert(1)>"`,
		"title":      `"x.test/</title><script>alert(1)</script>" v1.0.0`,
		"entity":     `"x.test/&lt;script&gt;" v1.0.0`,
		"scheme":     `"javascript:alert(1)" v1.0.0`,
		"host":       `"//evil.test/x" v1.0.0`,
		"template":   `"x.test/{{.Name}}" v1.0.0`,
		"direction":  "\"x.test/\u202ea\" v1.0.0",
		"long":       "x.test/" + strings.Repeat("a", 50_000) + " v1.0.0-" + strings.Repeat("b", 50_000),
		"itself":     "example.com/evil v9.0.0",
		"many":       strings.Repeat("x.test/a v1.0.0\n", 5000),
		"many names": manyNames(5000),
		"build":      "x.test/a v1.0.0+<x>",
	} {
		s := newShown(t, nil, nil)
		m := module.Version{Path: "example.com/evil", Version: "v1.0.0"}
		mod := "module example.com/evil\n\nrequire (\n\texample.com/greet v1.1.0\n" + requires + "\n)\n"
		require.NoError(t, s.store.Put(t.Context(), m, &athens.Info{Version: m.Version}, []byte(mod)), name)
		s.rebuild(t.Context())
		_, drawn, _ := strings.Cut(s.page("/-/m/example.com/evil"), `<section class="graphs"`)
		drawn, _, found := strings.Cut(drawn, "</section>")
		if !found {
			require.Empty(t, parseMod([]byte(mod)).requires, "%s: it can't be read", name)
			continue
		}
		assert.Less(t, len(drawn), 32<<10, name)
		for _, element := range tag.FindAllStringSubmatch(drawn, -1) {
			assert.Contains(t, []string{"h2", "figure", "figcaption", "div", "span", "svg", "g", "a", "path", "rect", "text", "title"}, element[1], name)
		}
		for _, link := range href.FindAllStringSubmatch(drawn, -1) {
			assert.Regexp(t, `^/-/m/example\.com/`, link[1], name)
		}
		for _, bad := range []string{"alert", "{{", "\u202e", "NaN"} {
			assert.NotContains(t, drawn, bad, name)
		}
	}
}

// manyNames are requirements of many modules.
func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("x.test/m" + strconv.Itoa(i) + " v1.0.0\n")
	}
	return b.String()
}
