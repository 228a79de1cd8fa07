package athens

import (
	"net/http"
	"strings"
	"testing"
)

// FuzzVia reads Via headers of anybody's making: what is passed on are names that a
// server like this one has, a few of them, and reading it again changes nothing.
func FuzzVia(f *testing.F) {
	const a, b = "athens-aaaaaaaaaaaaaaaaaaaaaaaaaa", "athens-bbbbbbbbbbbbbbbbbbbbbbbbb7"
	f.Add("1.1 "+a, "1.0 nginx, 1.1 "+b)
	f.Add(strings.Repeat("1.1 "+a+",", 12), "")
	f.Add("1.1 athens-self", "HTTP/1.1 "+a+" (comment, with a comma)")
	f.Add("1.1\t"+a+",,, ,1.1 corp.test/secret", "1.1 athens-corp.test/secretaaaaaaaaa")
	f.Fuzz(func(t *testing.T, one, two string) {
		h := &Handler{id: b}
		chain, err := h.chain(http.Header{"Via": {one, two}})
		if err != nil {
			if chain != "" || len(err.Error()) > 2000 {
				t.Errorf("%q %v", chain, err)
			}
			return
		}
		servers := strings.Split(chain, ", ")
		if chain != "" {
			for _, s := range servers {
				if name, ok := strings.CutPrefix(s, "1.1 "); !ok || !isServer(name) || name == b {
					t.Errorf("%q passes on %q", one+", "+two, s)
				}
			}
		}
		if len(servers) > maxServers {
			t.Errorf("%d servers", len(servers))
		}
		if again, err := h.chain(http.Header{"Via": {chain}}); err != nil || again != chain {
			t.Errorf("%q, then %q: %v", chain, again, err)
		}
	})
}
