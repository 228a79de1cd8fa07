package browser

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/athenstest"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/ledger"
	"github.com/athens-go/athens/serve"
	"github.com/athens-go/athens/serve/web"
	"github.com/athens-go/athens/storage"
)

// timeout is for a slow machine.
const timeout = 4 * time.Minute

// server is an Athens with modules, some of them hostile.
type server struct {
	url    string
	store  *storage.Store
	source *athenstest.Source
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{store: storage.NewMemory(), source: athenstest.NewSource(t, "upstream")}
	for _, v := range versions {
		athenstest.Hold(t, s.store, modtest.NewVersion(t, v.path, v.version, v.files), true)
	}
	queue, err := fill.New(nil)
	require.NoError(t, err)
	key, err := ledger.NewKey("sum.corp.example")
	require.NoError(t, err)
	book, err := ledger.New(t.TempDir(), key, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, book.Close()) })
	site, err := web.New(s.store, &web.Options{Name: "Modules of Example Corp", StateFile: pastFile(t), AllowAll: func(*http.Request) bool { return true }, Rules: func() []web.Rule {
		return []web.Rule{{Place: "rules.txt:1", Text: "private corp.example"}, {Place: "rules.txt:2", Text: "block example.com/left-pad # use the standard library", Reason: "use the standard library (rules.txt:2)"}, {Place: "rules.txt:3", Text: "cooldown 7d"}}
	}})
	require.NoError(t, err)
	options := athens.Options{Private: "corp.example", Fetcher: s.source, Fills: queue, Ledger: book, Route: func(_ context.Context, m module.Version) (athens.Route, error) {
		if m.Path == "example.com/left-pad" {
			return athens.Route{Blocked: "use the standard library (rules.txt:2)"}, nil
		}
		return athens.Route{}, nil
	}}
	site.Watch(&options)
	handler, err := athens.NewHandler(s.store, &options)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var ended sync.WaitGroup
	ended.Go(func() { site.Run(ctx) })
	ended.Go(func() { assert.NoError(t, queue.Run(ctx, handler.Fill)) })
	listening := httptest.NewServer(serve.Front(handler, nil, site))
	s.url = listening.URL
	t.Cleanup(func() {
		listening.Close()
		cancel()
		ended.Wait()
		assert.NoError(t, handler.Shutdown(context.Background()))
	})
	for range 3 {
		for _, v := range versions {
			s.ask(t, "/"+v.path+"/@v/"+v.version+".zip")
		}
	}
	s.source.Fail("info", "down")
	s.ask(t, "/example.com/broken/@v/v1.0.0.info")
	s.source.Fail("info", "")
	return s
}

// pastFile returns a file of what happened on earlier days, so that the plots show something.
func pastFile(t *testing.T) string {
	t.Helper()
	type totals struct{ Modules, Versions, Bytes int64 }
	type day struct {
		Day         int64
		All, Public totals
		Known       bool
	}
	type slot struct {
		N               int64
		Public, Private [6]int64
	}
	var past struct {
		Version int
		Days    []day
		Slots   []slot
	}
	past.Version = 1
	now := time.Now().Unix()
	for i := range int64(60) {
		n := totals{3 + i/6, 4 + i/5, 1000 + 70*i + 9*(i%7)*i/5}
		past.Days = append(past.Days, day{now/86400 - 60 + i, n, n, true})
	}
	for i := range int64(70) {
		served := 20 + 15*(i%9) + i*(70-i)/15
		past.Slots = append(past.Slots, slot{N: now/300 - 71 + i, Public: [6]int64{served + 5 + i%13, served, i % 5, i % 17 / 16, served * 4321, 0}})
	}
	data, err := json.Marshal(past)
	require.NoError(t, err)
	name := filepath.Join(t.TempDir(), "past")
	require.NoError(t, os.WriteFile(name, data, 0o666))
	return name
}

func (s *server) ask(t *testing.T, path string) int {
	t.Helper()
	resp, err := http.Get(s.url + path)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

// tab is a page in a browser, and what went wrong there.
type tab struct {
	t   *testing.T
	ctx context.Context
	s   *server

	mu     sync.Mutex
	asked  []string // URLs
	errors []string
}

// newTab opens a browser, or skips the test where there is none.
func newTab(t *testing.T) *tab {
	t.Helper()
	var program string
	for _, name := range []string{"chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			program = found
			break
		}
	}
	if program == "" {
		t.Skip("NOT TESTED in a browser: there is no chromium on this machine")
	}
	b := &tab{t: t, s: newServer(t)}
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.WSURLReadTimeout(timeout), chromedp.WindowSize(1280, 900))
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, flags...)
	t.Cleanup(cancel)
	b.ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	chromedp.ListenTarget(b.ctx, b.listen)
	b.do(network.Enable(), cdplog.Enable(), runtime.Enable())
	t.Cleanup(b.check)
	return b
}

// listen notes what the page asks for, and what goes wrong.
func (b *tab) listen(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.asked = append(b.asked, e.Request.URL)
	case *network.EventWebSocketCreated:
		b.asked = append(b.asked, e.URL)
	case *cdplog.EventEntryAdded:
		b.errors = append(b.errors, e.Entry.Text+" "+e.Entry.URL)
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, e.ExceptionDetails.Error())
	case *runtime.EventConsoleAPICalled:
		b.errors = append(b.errors, "console: "+string(e.Type))
	case *page.EventJavascriptDialogOpening:
		b.errors = append(b.errors, "dialog: "+e.Message)
	}
}

// check wants no error, and no request to anywhere else.
func (b *tab) check() {
	b.mu.Lock()
	defer b.mu.Unlock()
	assert.Empty(b.t, b.errors)
	assert.NotEmpty(b.t, b.asked)
	for _, url := range b.asked {
		assert.True(b.t, strings.HasPrefix(url, b.s.url+"/"), url)
	}
}

func (b *tab) do(actions ...chromedp.Action) {
	b.t.Helper()
	require.NoError(b.t, chromedp.Run(b.ctx, actions...))
}

func (b *tab) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.s.url+path), chromedp.WaitReady("footer"))
}

// value is what an expression of JavaScript says.
func (b *tab) value(expression string, into any) {
	b.t.Helper()
	b.do(chromedp.Evaluate(expression, into))
}

// waitFor waits until the page has a text.
func (b *tab) waitFor(text string) {
	b.t.Helper()
	b.do(chromedp.Poll(`document.body.innerText.includes(`+quote(text)+`)`, nil, chromedp.WithPollingTimeout(timeout)))
}

func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" }

// picture writes a screenshot for the documentation, if it is asked for.
func (b *tab) picture(name string, width, height int64) {
	b.t.Helper()
	if os.Getenv("ATHENS_SCREENSHOTS") == "" {
		return
	}
	var png []byte
	b.do(emulation.SetDeviceMetricsOverride(width, height, 1, width < 500), chromedp.CaptureScreenshot(&png), emulation.ClearDeviceMetricsOverride())
	require.NoError(b.t, os.WriteFile(filepath.Join("..", "..", "docs", "static", name+".png"), png, 0o666))
}

// all are the pages.
var all = []string{
	"/", "/-/modules", "/-/m/example.com/greet", "/-/m/example.com/shop", "/-/m/example.com/evil", "/-/f/example.com/greet@v1.1.0/", "/-/f/example.com/greet@v1.1.0/greet.go", "/-/f/example.com/evil@v1.0.0/evil.go",
	"/-/d/example.com/greet@v1.0.0..v1.1.0", "/-/fills", "/-/policy", "/-/ledger", "/-/ledger?m=example.com/greet@v1.1.0", "/-/store",
}

// A reader copies the line, searches, opens a module, and sees what comes in meanwhile.
func TestPagesAreUsed(t *testing.T) {
	b := newTab(t)
	b.open("/")
	b.do(cdpbrowser.GrantPermissions([]cdpbrowser.PermissionType{cdpbrowser.PermissionTypeClipboardReadWrite, cdpbrowser.PermissionTypeClipboardSanitizedWrite}).WithOrigin(b.s.url))
	b.do(chromedp.Click("button.copy"))
	b.waitFor("Copied")
	var pasted string
	b.do(chromedp.Evaluate(`navigator.clipboard.readText()`, &pasted, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	assert.Equal(t, "export GOPROXY="+b.s.url+" GONOPROXY=none GONOSUMDB=corp.example", pasted)

	b.source("example.com/live", "v1.0.0")
	b.waitFor("example.com/live")
	assert.NotZero(t, b.asks("/-/stream"))
	assert.Zero(t, b.asks("/-/live"), "the stream told it")
	b.picture("web-home", 1280, 1000)

	b.do(chromedp.SendKeys("#q", "gree"))
	b.do(chromedp.WaitVisible(`#results a[href="/-/m/example.com/greet"]`), chromedp.Click(`#results a[href="/-/m/example.com/greet"]`), chromedp.WaitVisible("h1.path"))
	var title string
	b.value(`document.querySelector("h1").textContent`, &title)
	assert.Equal(t, "example.com/greet", title)
	b.picture("web-module", 1280, 1000)
	b.open("/-/m/example.com/shop")
	b.do(chromedp.WaitVisible("svg.graph.wide"))
	b.picture("web-graph", 1280, 1000)
	b.do(chromedp.Click(`svg.graph.wide a[href="/-/m/example.com/greet@v1.1.0"]`), chromedp.WaitVisible(`//h1[text()="example.com/greet"]`))
	b.do(chromedp.Click(`//a[text()="changes"]`), chromedp.WaitVisible(".diff"))
	b.picture("web-changes", 1280, 800)
	for _, name := range []string{"fills", "policy", "store", "ledger"} {
		b.open("/-/" + name)
		if name == "store" {
			b.do(chromedp.WaitVisible(`svg[aria-label^="Bytes held over 61 days"]`))
		}
		b.picture("web-"+name, 1280, 800)
	}
}

// asks is how often the page asked for a path.
func (b *tab) asks(path string) (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, url := range b.asked {
		if url == b.s.url+path {
			n++
		}
	}
	return n
}

// A browser that gets no stream asks again and again.
func TestPagesPoll(t *testing.T) {
	b := newTab(t)
	b.do(chromedp.ActionFunc(func(ctx context.Context) error {
		_, err := page.AddScriptToEvaluateOnNewDocument(`delete window.EventSource`).Do(ctx)
		return err
	}))
	b.open("/")
	b.source("example.com/late", "v1.0.0")
	b.waitFor("example.com/late")
	assert.NotZero(t, b.asks("/-/live"))
	assert.Zero(t, b.asks("/-/stream"))
}

// source lets a version come in as the go command asks for it.
func (b *tab) source(path, version string) {
	b.t.Helper()
	b.s.source.Add(module.Version{Path: path, Version: version})
	require.Equal(b.t, 200, b.s.ask(b.t, "/"+path+"/@v/"+version+".info"))
}

// Every page fits a telephone, and is dark where the reader wants it so.
func TestPagesFit(t *testing.T) {
	b := newTab(t)
	for _, dark := range []bool{false, true} {
		scheme := "light"
		if dark {
			scheme = "dark"
		}
		b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}))
		for _, path := range all {
			b.do(emulation.SetDeviceMetricsOverride(360, 800, 1, true))
			b.open(path)
			var width int
			b.value(`document.documentElement.scrollWidth`, &width)
			assert.LessOrEqual(t, width, 360, path)
			var background string
			b.value(`getComputedStyle(document.body).backgroundColor`, &background)
			assert.Equal(t, dark, background == "rgb(19, 21, 23)", "%s: %s", path, background)
			var unnamed int
			b.value(`[...document.querySelectorAll("input:not([type=hidden]), button, a")].filter(e => !(e.innerText || e.labels && e.labels.length || e.getAttribute("aria-label") || e.hidden || e.closest("[hidden]"))).length`, &unnamed)
			assert.Zero(t, unnamed, "%s: what has no name can't be read out", path)
		}
	}
	b.open("/")
	b.picture("web-dark", 360, 800)
	b.do(emulation.SetDeviceMetricsOverride(360, 800, 1, true))
	b.open("/-/m/example.com/shop#graph")
	b.do(chromedp.WaitVisible("svg.graph.narrow"))
	b.picture("web-graph-narrow", 360, 1300)
	b.do(emulation.ClearDeviceMetricsOverride())
	b.open("/-/m/example.com/greet")
	b.picture("web-module-dark", 1280, 1000)
}

// What a module contains neither runs nor changes the page.
func TestHostileModulesDoNothing(t *testing.T) {
	b := newTab(t)
	for _, path := range []string{"/-/m/example.com/evil", "/-/f/example.com/evil@v1.0.0/", "/-/f/example.com/evil@v1.0.0/evil.go", "/-/d/example.com/evil@v1.0.0..v1.0.0", "/-/modules?q=" + "%3Cimg+src=x+onerror=pwned()%3E"} {
		b.open(path)
		var ran bool
		b.value(`window.pwned === true || document.title === "pwned"`, &ran)
		assert.False(t, ran, path)
		var foreign int
		b.value(`document.querySelectorAll("main img, main iframe, main script, main object, main form[action^='//'], main [style], base, main link").length`, &foreign)
		assert.Zero(t, foreign, path)
		var links []string
		b.value(`[...document.querySelectorAll("main a")].map(a => a.protocol)`, &links)
		for _, protocol := range links {
			assert.Contains(t, []string{"http:", "https:", "mailto:"}, protocol, path)
		}
	}
}

// Without a script everything can be read, and searched.
func TestPagesNeedNoScript(t *testing.T) {
	b := newTab(t)
	b.do(emulation.SetScriptExecutionDisabled(true))
	b.open("/")
	b.do(chromedp.SendKeys("#q", "greet\r"), chromedp.WaitVisible(`table a[href="/-/m/example.com/greet"]`))
}
