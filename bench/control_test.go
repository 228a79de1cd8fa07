package bench_test

import (
	"archive/zip"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/athens-go/athens/internal/modtest"
)

// measureControl reads what is held from a plain proxy, from one with rules, advisories and
// tokens, and from one with metrics.
func measureControl(t *testing.T, b *table) {
	tree := newWarmTree(t, 100, 0)
	env := modtest.NewGo(t, nil).Env()
	run := func(name string, flags ...string) *server {
		return start(t, name, env, append([]string{modtest.Build(t, "./examples/proxy"),
			"-addr", "{addr}", "-dir", tree.dir, "-upstream", downURL, "-private", ""}, flags...)...)
	}
	plain := run("plain")
	tokens, secret := newToken(t, env)
	policy := run("rules, advisories, tokens", "-rules", newRules(t, b.rules), "-tokens", tokens)
	address, err := url.Parse(policy.url)
	if err != nil {
		t.Fatal(err)
	}
	address.User = url.UserPassword("bench", secret)
	policy.url = address.String()
	seen := run("metrics", "-ops", freeAddr(t))

	servers := []*server{plain, policy, seen}
	targets := map[*server]float64{policy: 1.05, seen: 1.03}
	for _, part := range []struct {
		what     string
		paths    []string
		requests int
	}{
		{".info and .mod", tree.small, b.small},
		{"zips of 100 KB", tree.medium, b.medium},
	} {
		for _, s := range servers { // a first login costs a bcrypt, and a first connection more than others
			mustHold(t, s.name, flood(t, s.url, part.paths, conns, 10*conns))
		}
		costs := map[*server][]cost{}
		for range b.rounds {
			for _, s := range servers {
				before, begin := s.cpu(t), time.Now()
				answers := flood(t, s.url, part.paths, conns, part.requests)
				costs[s] = append(costs[s], cost{time.Since(begin), s.cpu(t) - before})
				mustHold(t, s.name, answers)
			}
		}
		for _, s := range servers[1:] {
			one, base := median(costs[s]), median(costs[plain])
			each := func(c cost) string { return short(c.cpu / time.Duration(part.requests)) }
			b.add(t, line{"warm " + part.what + ", CPU a request to that of a proxy without", s.name,
				ratio(one.cpu, base.cpu), "×", targets[s], fmt.Sprintf("CPU %s to %s", each(one), each(base))})
		}
	}
}

// newToken makes a file with a token that may read everything, and returns its secret.
func newToken(t *testing.T, env []string) (file, secret string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "tokens")
	cmd := exec.Command(modtest.Build(t, "./examples/store"), "token", "-file", file, "-name", "bench", "-rights", "read", "-paths", "*")
	cmd.Env = env
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("store token: %v", err)
	}
	return file, strings.TrimSpace(string(out))
}

// newRules makes a file with n rules, and as many advisories tenfold, about other modules
// than those that are asked for.
func newRules(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "osv.zip"))
	if err != nil {
		t.Fatal(err)
	}
	w := zip.NewWriter(f)
	for i := range 10 * n {
		id := fmt.Sprintf("GO-2026-%05d", i)
		entry, err := w.Create(id + ".json")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(entry, `{"id":%q,"affected":[{"package":{"ecosystem":"Go","name":"other.test/m%d"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"1.2.3"}]}]}]}`, id, i); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "advisories %s\n", f.Name())
	for i := range n {
		fmt.Fprintf(&text, "block other.test/x%d <1.2.0 # old\n", i)
	}
	name := filepath.Join(dir, "rules")
	if err := os.WriteFile(name, []byte(text.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	return name
}
