package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modtest"
)

// seed is that of generated tests; ATHENS_SEED sets it.
func seed(t testing.TB) uint64 {
	if s := os.Getenv("ATHENS_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
		return n
	}
	return 20240229
}

// requestMaker makes requests up.
type requestMaker struct{ *rand.Rand }

func (a requestMaker) one(list ...string) string { return list[a.IntN(len(list))] }

// path is that of a private module, there or not.
func (a requestMaker) path() string {
	p := a.one("quuxcorp.test/zanzibar", "git.quuxcorp.test/Xylophone", "gitlab.test/Xylophone/tool", "public.test/zanzibar",
		"mixed.test/zanzibar", "quuxcorp.test", "quuxcorp.test/sso/zanzibar", "quuxcorp.test/moved/a", "deep.er.quuxcorp.test/a/b/c", "Mixed.test/Open/yttrium",
		fmt.Sprintf("quuxcorp.test/m%d", a.IntN(40)), fmt.Sprintf("public.test/zanzibar/m%d", a.IntN(20)))
	switch a.IntN(8) {
	case 0:
		p += a.one("/v2", "/v3", "/v0", "/...", "/cmd/tool")
		if rest, ok := strings.CutSuffix(p, "/cmd/tool"); ok && strings.Contains(rest, "/") {
			p = rest + a.one(".git", ".v1", ".git/cmd", ".HG", ".git/v2")
		}
	case 1:
		p = a.spell(p)
	}
	return p
}

// spell changes the case of some letters, which leaves a private path private.
func (a requestMaker) spell(s string) string {
	return strings.Map(func(r rune) rune {
		if a.IntN(4) == 0 {
			return []rune(strings.ToUpper(string(r)))[0]
		}
		return r
	}, s)
}

func (a requestMaker) version() string {
	return a.one("v1.0.0", "v1.1.0", "v9.9.9", "v2.0.0+incompatible", "v1.0.0-RC.1", "v0.0.0-20220102100000-0123456789ab", "v2.0.0")
}

func (a requestMaker) query() string {
	return a.one("main", "latest", "v1", "v1.1", "0123456789abcdef", "zanzibar-branch", "upgrade", "patch", "none")
}

// escapePath writes a path as the protocol does.
func escapePath(path string) string {
	if escaped, err := module.EscapePath(path); err == nil {
		return escaped
	}
	return path
}

// file is what is asked about a module.
func (a requestMaker) file() (kind, tail string) {
	v, err := module.EscapeVersion(a.version())
	if err != nil {
		panic(err)
	}
	switch kind = a.one("info", "mod", "zip", "list", "latest", "query"); kind {
	case "list":
		return kind, "/@v/list"
	case "latest":
		return kind, "/@latest"
	case "query":
		return kind, "/@v/" + a.query() + ".info"
	}
	return kind, "/@v/" + v + "." + kind
}

// private is a request that names a private path where the protocol has one, in
// a good or a bad spelling.
func (a requestMaker) private() privateRequest {
	kind, tail := a.file()
	path := escapePath(a.path())
	r := privateRequest{method: a.one("GET", "GET", "GET", "HEAD", "POST"), host: "proxy.test"}
	how := a.one("plain", "plain", "plain", "plain", "sumdb", "sumdb database", "raw case", "bad case", "percent", "slashes", "dots", "letters", "absolute")
	switch how {
	case "sumdb":
		tail = ""
		path = "sumdb/sum.test/lookup/" + path + "@" + a.one("v1.0.0", "v1.1.0", "v1", "v2.0.0+incompatible", "v1.0.0/go.mod", "")
	case "sumdb database":
		tail = ""
		path = "sumdb/" + a.one("quuxcorp.test", "db.quuxcorp.test:8443", "Quuxcorp.test", "quuxcorp.test/zanzibar", "!quuxcorp.test") +
			a.one("/supported", "/latest", "/lookup/public.test/lib@v1.0.0", "/tile/8/0/001", "/tile/8/data/x001/234.p/3")
	case "raw case":
		path = a.spell(path)
	case "bad case":
		i := a.IntN(len(path) + 1)
		path = path[:i] + a.one("!", "!!", "!Z", "! ") + path[i:]
	case "percent":
		var b strings.Builder
		for _, c := range []byte(path) {
			if a.IntN(3) == 0 {
				fmt.Fprintf(&b, a.one("%%%02x", "%%%02X", "%%25%02x"), c)
			} else {
				b.WriteByte(c)
			}
		}
		path = b.String()
	case "slashes":
		path = a.one("/", "//", "") + strings.Replace(path, "/", a.one("//", "///", "%2f", "%2F", `\`), 1) + a.one("/", "")
	case "dots":
		path = a.one("../", "./", "public.test/lib/../../", "public.test/lib/%2e%2e/../", "public.test/./") + path + a.one("/.", "/..", "./", ".")
	case "letters":
		path = strings.NewReplacer("a", a.one("а", "a\u0301", "a\u200b"), "o", a.one("о", "ο"), "k", "K").Replace(path)
	}
	r.kind = how + " " + kind
	r.target = "/" + path + tail
	if how == "absolute" {
		r.target = "http://" + a.one("proxy.test", "quuxcorp.test", "registry.test") + r.target
	}
	if strings.ContainsAny(r.target, " ") {
		r.target = strings.ReplaceAll(r.target, " ", "%20")
	}
	return r
}

// public is a request that is about nothing private, but tells of it elsewhere.
func (a requestMaker) public() privateRequest {
	kind, tail := a.file()
	path := a.one("public.test/app", "public.test/lib", "public.test/lib", "public.test/more", "mixed.test/open/m", fmt.Sprintf("public.test/none%d", a.IntN(40)))
	r := privateRequest{kind: "public " + kind, method: "GET", host: "proxy.test", target: "/" + path + strings.ReplaceAll(tail, "zanzibar-", ""), public: true}
	secret := a.path()
	switch a.IntN(6) {
	case 0:
		r.target += a.one("?", "?go-get=1&path=", "?u=https://") + secret
	case 1:
		r.host = strings.SplitN(secret, "/", 2)[0]
	case 2:
		r.header = []string{a.one("Referer: http://", "Origin: http://", "X-Forwarded-Host: ", "Forwarded: host=", "Cookie: p=", "Authorization: Bearer ", "User-Agent: go/", "X-Request-Id: ", "Traceparent: ", "Baggage: m=") + secret}
	case 3:
		r.header = []string{"Via: 1.1 " + secret + ", 1.0 athens-" + a.one("zanzibar", "quuxcorp.test/zanzibar"+"aaaa")}
	case 4:
		r.target = "/" + path + "/@v/" + a.one("quuxcorp.test", "!quuxcorp.test", "git.quuxcorp.test", "QUUXCORP.test") + ".info"
	}
	return r
}

// ask sends what a made up, by several at once, and checks each answer.
func (p *privacyEnv) ask(a requestMaker, n int) (counts map[string]int) {
	counts = map[string]int{}
	requests := make(chan privateRequest)
	var mu sync.Mutex
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for r := range requests {
				status, head, body, err := p.send(r)
				mu.Lock()
				counts[strings.Fields(r.kind)[0]+" "+strconv.Itoa(status)]++
				mu.Unlock()
				if !assert.NoError(p.t, err, "%+v", r) {
					continue
				}
				assert.Empty(p.t, findSecret(head.Get("Location")), "%+v is sent to %s", r, head.Get("Location"))
				if r.public && findSecret(r.target) == "" && !strings.HasPrefix(r.target, "/public.test/app/") && !strings.Contains(r.target, "/@v/v1.") {
					assert.Empty(p.t, findSecret(fmt.Sprint(head, body)), "%+v is answered %d %v %s", r, status, head, body)
				}
			}
		})
	}
	for i := range n {
		if i%4 == 3 {
			requests <- a.public()
		} else {
			requests <- a.private()
		}
	}
	close(requests)
	asking.Wait()
	return counts
}

// silent checks that nobody outside has heard a secret.
func (p *privacyEnv) silent() {
	p.t.Helper()
	for name, d := range map[string]*recordingProxy{"the registry": p.registry, "the checksum database": p.sums, "a public host": p.outside} {
		for line := range strings.Lines(d.said()) {
			if s := findSecret(line); s != "" {
				p.t.Errorf("%s has received %q, which tells of %s", name, line, s)
			}
		}
	}
	for line := range strings.Lines(p.log.String()) {
		own := strings.Contains(line, "file=query") || strings.Contains(line, "file=sumdb") // what the client asked for itself
		if strings.Contains(line, "module=public.test/lib ") && !own && findSecret(line) != "" {
			p.t.Errorf("the log of a public module: %s", line)
		}
	}
}

// A proxy is asked for private things in every way there is, beside public ones
// that mention them: none of it leaves for the registry, the checksum database or
// any other host, whether version control answers or is down.
func TestPrivacy(t *testing.T) {
	t.Parallel()
	for name, through := range map[string]bool{"redirect": false, "fetch": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPrivacyEnv(t, through)
			a := requestMaker{rand.New(rand.NewPCG(seed(t), 1))}
			// What is public leads to what is private.
			for _, target := range []string{"/public.test/app/@v/v1.0.0.mod", "/public.test/lib/@v/v1.1.0.mod", "/public.test/more/@v/v1.0.0.mod"} {
				_, _, _, err := p.send(privateRequest{method: "GET", target: target, host: "proxy.test"})
				require.NoError(t, err)
			}
			up := p.ask(a, 1100)
			for range 100 {
				m := module.Version{Path: a.path(), Version: a.version()}
				_ = p.handler.Fill(t.Context(), athens.Fill{Module: m, Zip: a.IntN(2) == 0})
			}
			p.mu.Lock()
			for host := range p.to {
				p.cut[host] = host != "registry.test" && host != "sum.test"
			}
			p.mu.Unlock()
			down := p.ask(a, 300)
			modtest.Eventually(t, "fills are done or wait for an hour", func() bool { return p.fills.Status().Counts.Running == 0 })
			t.Logf("answers: %v, without version control: %v", up, down)
			assert.NotZero(t, up["plain 200"], "private modules are served")
			assert.NotZero(t, up["plain 404"])
			assert.NotZero(t, up["public 200"]+up["public 302"])
			assert.NotZero(t, up["sumdb 403"])
			assert.NotZero(t, down["plain 503"])
			assert.Greater(t, strings.Count(p.registry.said(), "GET /"), 20, "the registry is asked for what is public")
			assert.NotEmpty(t, p.outside.said(), "private places lead outside")
			p.silent()
			for _, host := range p.reached() {
				assert.Contains(t, []string{"registry.test", "sum.test", "login.test", "quuxcorp.test", "git.quuxcorp.test", "deep.er.quuxcorp.test", "gitlab.test", "public.test", "mixed.test"},
					strings.ToLower(host))
			}
		})
	}
}
