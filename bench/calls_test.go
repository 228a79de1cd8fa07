package bench_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/athens-go/athens/internal/modtest"
)

// measureCalls counts what many equal questions cost the upstream.
func measureCalls(t *testing.T, b *table) {
	v := newZip(t, "calls.test/mod", "v1.0.0", 1000)
	upstream := modtest.NewGoProxy(t, v)
	upstream.Break("", modtest.Delay(b.away))
	env := modtest.NewGo(t, nil).Env()
	for _, sys := range systems() {
		s := sys.start(t, t.TempDir(), upstream.URL, env)
		upstream.Reset()
		mustHold(t, s.name, flood(t, s.url, []string{"calls.test/mod/@v/list"}, conns, b.lists))
		b.add(t, line{fmt.Sprintf("upstream calls of %d list requests", b.lists), sys.name, float64(upstream.Count("")), "calls", sys.target(1), ""})
		s.kill()
	}
	for _, asked := range []struct {
		what string
		path func(i int) string
	}{
		{"a version's .info", func(i int) string { return fmt.Sprintf("calls.test/mod/@v/v1.0.%d.info", i+1) }},
		{"a version's .mod", func(i int) string { return fmt.Sprintf("calls.test/mod/@v/v1.0.%d.mod", i+1) }},
		{"a version's .zip", func(i int) string { return fmt.Sprintf("calls.test/mod/@v/v1.0.%d.zip", i+1) }},
		{"lists and @latest of modules", func(i int) string {
			return fmt.Sprintf("calls.test/none%d/", i/2) + []string{"@v/list", "@latest"}[i%2]
		}},
	} {
		var absent []string
		for i := range b.absent {
			absent = append(absent, asked.path(i))
		}
		for _, sys := range systems() {
			s := sys.start(t, t.TempDir(), upstream.URL, env)
			upstream.Reset()
			answers := flood(t, s.url, absent, conns, 5*len(absent))
			wrong := 0
			for _, a := range answers {
				if a.status != http.StatusNotFound && a.status != http.StatusGone {
					wrong++
				}
			}
			b.add(t, line{fmt.Sprintf("upstream calls of %d requests for %d that do not exist: %s", len(answers), len(absent), asked.what),
				sys.name, float64(upstream.Count("")), "calls", sys.target(float64(len(absent))),
				fmt.Sprintf("answers other than 404 and 410: %d; .info %d, .mod %d, .zip %d", wrong,
					upstream.Count("*.info"), upstream.Count("*.mod"), upstream.Count("*.zip")) +
					fmt.Sprintf(", list %d, @latest %d", upstream.Count("*/list"), upstream.Count("*/@latest"))})
			if sys.own && wrong > 0 {
				t.Errorf("%d requests for what does not exist were not answered so", wrong)
			}
			s.kill()
		}
	}
}
