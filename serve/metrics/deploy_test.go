package metrics_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/serve/metrics"
	"github.com/athens-go/athens/storage"
)

// exported returns the metrics that a server exports once it has done something of each
// kind, and the labels of each.
func exported(t *testing.T) map[string][]string {
	t.Helper()
	m := metrics.New()
	var o athens.Options
	m.Watch(&o)
	queue, err := fill.New(nil)
	require.NoError(t, err)
	h, err := athens.NewHandler(storage.NewMemory(), &o)
	require.NoError(t, err)
	m.Track(h, queue)
	m.AddStore(func() (modules, versions int, bytes int64, ok bool) { return 1, 2, 3, true })
	m.AddRepositories(func(context.Context) (int64, bool) { return 4, true })
	m.AddEvictions(func() metrics.Evictions { return metrics.Evictions{MaxBytes: 5, Versions: 6, Last: time.Unix(7, 0)} })
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/example.com/m/@latest", nil))
	_, end := o.Trace(t.Context(), athens.OpZip, event("", "", "", 0, 0, 0).Module)
	end(nil)
	o.Observe(athens.Event{Op: athens.OpZip, Source: athens.SourceVCS, Outcome: athens.OutcomeDone, Bytes: 1, Duration: time.Second})

	all := map[string][]string{}
	for line := range strings.Lines(text(t, m)) {
		if parts := regexp.MustCompile(`^(\w+)(\{.*\})? `).FindStringSubmatch(line); parts != nil {
			all[parts[1]] = nil
			for _, label := range regexp.MustCompile(`(\w+)="`).FindAllStringSubmatch(parts[2], -1) {
				all[parts[1]] = append(all[parts[1]], label[1])
			}
		}
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(?:athens|http_server|go|process)_\w+`)
	selector   = regexp.MustCompile(`\b((?:athens|http_server|go|process)_\w+)\{([^}]*)\}`)
	matcher    = regexp.MustCompile(`(\w+)\s*[=!]~?\s*"`)
)

// check tells what a query names that no server exports.
func check(t *testing.T, all map[string][]string, query string) {
	t.Helper()
	names := metricName.FindAllString(query, -1)
	assert.NotEmpty(t, names, query)
	for _, name := range names {
		if name == "http_route" {
			continue // a label
		}
		assert.Contains(t, all, name, query)
	}
	for _, s := range selector.FindAllStringSubmatch(query, -1) {
		for _, label := range matcher.FindAllStringSubmatch(s[2], -1) {
			if label[1] != "instance" { // Prometheus itself adds it
				assert.True(t, slices.Contains(all[s[1]], label[1]), "%s has no label %s: %s", s[1], label[1], query)
			}
		}
	}
}

// The dashboard and the alerts ask for what servers export.
func TestDashboardAndAlerts(t *testing.T) {
	all := exported(t)
	deploy := filepath.Join(modtest.RootDir(t), "deploy")
	raw, err := os.ReadFile(filepath.Join(deploy, "grafana.json"))
	require.NoError(t, err)
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &dashboard))
	require.NotEmpty(t, dashboard.Panels)
	for _, p := range dashboard.Panels {
		require.NotEmpty(t, p.Targets, p.Title)
		for _, target := range p.Targets {
			check(t, all, target.Expr)
		}
	}
	rules, err := os.ReadFile(filepath.Join(deploy, "alerts.yaml"))
	require.NoError(t, err)
	queries := regexp.MustCompile(`(?m)^ +expr: (.*)$`).FindAllStringSubmatch(string(rules), -1)
	assert.Len(t, queries, strings.Count(string(rules), "- alert: "))
	for _, q := range queries {
		check(t, all, q[1])
	}
}
