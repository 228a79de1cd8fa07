package gocmd_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/fetcher/gocmd"
)

func Example() {
	host := newHost()
	defer host.Close()

	f, err := gocmd.New(&gocmd.Options{
		Env: []string{ // this host is its own proxy, and has no TLS
			"HTTP_PROXY=" + host.URL, "http_proxy=" + host.URL, "HTTPS_PROXY=" + host.URL, "NO_PROXY=", "no_proxy=", "GOINSECURE=*.test",
		},
		GOVCS: "corp.test:all,*:git|hg",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()

	ctx := context.Background()
	info, err := f.Resolve(ctx, "corp.test/greet", "latest")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.Version, info.Time)

	content, err := f.Fetch(ctx, module.Version{Path: "corp.test/greet", Version: info.Version})
	if err != nil {
		log.Fatal(err)
	}
	mod, err := content.Mod(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", mod)
	// Output:
	// v1.0.0 2024-05-01 12:00:00 +0000 UTC
	// module corp.test/greet
}

// newHost starts a host that says where corp.test/greet is: on a server that
// speaks the GOPROXY protocol, so that no version control system is needed.
func newHost() *httptest.Server {
	pages := map[string]string{
		"/greet":                                `<meta name="go-import" content="corp.test/greet mod http://corp.test/proxy">`,
		"/proxy/corp.test/greet/@v/list":        "v1.0.0\n",
		"/proxy/corp.test/greet/@v/v1.0.0.info": `{"Version":"v1.0.0","Time":"2024-05-01T12:00:00Z"}`,
		"/proxy/corp.test/greet/@v/v1.0.0.mod":  "module corp.test/greet\n",
	}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if page, ok := pages[r.URL.Path]; ok {
			fmt.Fprint(w, page)
			return
		}
		http.NotFound(w, r)
	}))
}
