package conventions_test

import (
	"go/ast"
	"go/types"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// option is a field of a struct called Options.
type option struct {
	at, name, kind, comment string
}

// options returns the fields of all structs whose name ends in Options.
func options(t *testing.T) []option {
	t.Helper()
	var all []option
	for _, f := range sources(t) {
		if f.test || internal(f.dir) {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !strings.HasSuffix(spec.Name.Name, "Options") {
				return true
			}
			if fields, ok := spec.Type.(*ast.StructType); ok {
				all = append(all, optionsOf(f, fields)...)
			}
			return true
		})
	}
	assert.Greater(t, len(all), 80)
	return all
}

func optionsOf(f *file, fields *ast.StructType) []option {
	var all []option
	for _, field := range fields.Fields.List {
		for _, name := range field.Names {
			comment := strings.Join(strings.Fields(field.Doc.Text()+field.Comment.Text()), " ")
			all = append(all, option{f.at(name), name.Name, types.ExprString(field.Type), comment})
		}
	}
	return all
}

// One name is one thing in all Options.
func TestOptionsAgree(t *testing.T) {
	kinds := make(map[string]option)
	for _, o := range options(t) {
		o.kind = strings.ReplaceAll(o.kind, "athens.", "")
		if first, ok := kinds[o.name]; ok {
			assert.Equal(t, first.kind, o.kind, "%s and %s: %s", first.at, o.at, o.name)
			continue
		}
		kinds[o.name] = o
	}
}

// The name of an option says its unit.
func TestOptionsNameTheirUnits(t *testing.T) {
	duration := regexp.MustCompile(`(TTL|Timeout|Delay|After|Interval)$`)
	for _, o := range options(t) {
		switch o.kind {
		case "time.Duration":
			assert.Regexp(t, duration, o.name, o.at)
		case "*slog.Logger":
			assert.Equal(t, "Logger", o.name, o.at)
		}
		if strings.HasSuffix(o.name, "Bytes") {
			assert.Equal(t, "int64", o.kind, "%s: %s", o.at, o.name)
		} else if o.kind == "int64" {
			assert.Regexp(t, `(Steps|BytesPerSecond)$`, o.name, "%s: bytes end in Bytes", o.at)
		}
	}
}

// The comment of an option says what its zero value means.
func TestOptionsExplainZero(t *testing.T) {
	zero := regexp.MustCompile(`(?i)\b(zero|nil|empty|false|without it|optional)\b`)
	for _, o := range options(t) {
		if o.kind == "bool" {
			assert.NotEmpty(t, o.comment, "%s: %s", o.at, o.name)
			continue
		}
		assert.Regexp(t, zero, o.comment, "%s: %s", o.at, o.name)
		assert.NotRegexp(t, `(?i)\b(less than zero|negative one|negative duration)\b`, o.comment, "%s: write: a negative value means …", o.at)
	}
}

// headings are what the fields of options are grouped under. A colon and a sentence may
// follow.
var headings = []string{
	"Addresses", "Connections", "Disk", "Freshness", "Limits", "Memory", "Misses", "Policy", "Redirects", "Reports",
	"Retries", "Sources", "Streams", "Timeouts", "What is served", "Work",
}

// maxUngrouped is how many fields are found without headings.
const maxUngrouped = 6

// Options with many fields group them under headings, which are the same everywhere.
func TestOptionsAreGrouped(t *testing.T) {
	grouped := 0
	for _, f := range sources(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !strings.HasSuffix(spec.Name.Name, "Options") {
				return true
			}
			fields, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			if checkGroups(t, f, spec.Name.Name, fields) {
				grouped++
			}
			return true
		})
	}
	assert.Greater(t, grouped, 7)
}

// checkGroups reports whether a struct has headings.
func checkGroups(t *testing.T, f *file, name string, fields *ast.StructType) bool {
	doc := make(map[*ast.CommentGroup]bool)
	for _, field := range fields.Fields.List {
		doc[field.Doc], doc[field.Comment] = true, true
	}
	var found []*ast.CommentGroup
	for _, c := range f.Comments {
		if fields.Pos() < c.Pos() && c.End() < fields.End() && !doc[c] {
			found = append(found, c)
			heading, sentence, explained := strings.Cut(strings.TrimSpace(c.Text()), ": ")
			assert.Contains(t, headings, heading, "%s: in %s", f.at(c), name)
			assert.Equal(t, explained, strings.HasSuffix(sentence, "."), "%s: a sentence ends in a full stop", f.at(c))
		}
	}
	switch n := fields.Fields.NumFields(); {
	case n <= maxUngrouped:
	case len(found) < 2:
		t.Errorf("%s: %s has %d fields: group them under headings, such as Sources, Policy, Freshness, Limits", f.at(fields), name, n)
	case found[0].Pos() > fields.Fields.List[0].Pos():
		t.Errorf("%s: %s has fields before its first heading", f.at(fields), name)
	}
	for i, c := range found {
		end := fields.End()
		if i+1 < len(found) {
			end = found[i+1].Pos()
		}
		under := 0
		for _, field := range fields.Fields.List {
			if c.Pos() < field.Pos() && field.Pos() < end {
				under++
			}
		}
		assert.NotZero(t, under, "%s: no field is under this heading", f.at(c))
	}
	return len(found) > 0
}

// Errors have one key in the log.
func TestErrorsHaveOneLogKey(t *testing.T) {
	for _, f := range sources(t) {
		ast.Inspect(f.File, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			for i, arg := range call.Args {
				lit, ok := arg.(*ast.BasicLit)
				if ok && lit.Value == `"err"` && i+1 < len(call.Args) {
					t.Errorf(`%s: the key is "error"`, f.at(lit))
				}
			}
			return true
		})
	}
}
