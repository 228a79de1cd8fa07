package fetcher_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/fetcher"
)

func Example() {
	host := newHost() // answers for corp.test, with one repository
	defer host.close()

	dir, err := os.MkdirTemp("", "athens-fetcher-*")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	f, err := fetcher.New(dir, &fetcher.Options{
		Transport: host.transport(),
		Insecure:  "*.test", // this host has no TLS
		Netrc:     "none",
		GitConfig: "none",
		SSHDir:    "none",
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

// host serves a git repository and its go-import page for any path.
type host struct {
	*httptest.Server
	dir string
}

func newHost() *host {
	dir, err := os.MkdirTemp("", "athens-host-*")
	if err != nil {
		log.Fatal(err)
	}
	repo := filepath.Join(dir, "greet")
	run := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-C", repo}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@corp.test",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@corp.test",
			"GIT_AUTHOR_DATE=2024-05-01T12:00:00Z", "GIT_COMMITTER_DATE=2024-05-01T12:00:00Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			log.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	if err := os.Mkdir(repo, 0o777); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, "go.mod"), []byte("module corp.test/greet\n"), 0o666); err != nil {
		log.Fatal(err)
	}
	run("init", "-q", "-b", "main")
	run("add", ".")
	run("commit", "-q", "-m", "Begin")
	run("tag", "v1.0.0")

	git, err := exec.LookPath("git")
	if err != nil {
		log.Fatal(err)
	}
	backend := &cgi.Handler{Path: git, Args: []string{"http-backend"}, Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1"}}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("go-get") == "1" {
			fmt.Fprint(w, `<meta name="go-import" content="corp.test/greet git http://corp.test/greet/.git">`)
			return
		}
		backend.ServeHTTP(w, r)
	})
	return &host{httptest.NewServer(h), dir}
}

// transport sends every request to the host.
func (h *host) transport() http.RoundTripper {
	u, err := url.Parse(h.URL)
	if err != nil {
		log.Fatal(err)
	}
	return &http.Transport{Proxy: http.ProxyURL(u)}
}

func (h *host) close() {
	h.Close()
	os.RemoveAll(h.dir)
}
