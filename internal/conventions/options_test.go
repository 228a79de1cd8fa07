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

// options returns the fields of all Options structs.
func options(t *testing.T) []option {
	t.Helper()
	var all []option
	for _, f := range sources(t) {
		if f.test || internal(f.dir) {
			continue
		}
		ast.Inspect(f.File, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || spec.Name.Name != "Options" {
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
			assert.Regexp(t, `(Steps)$`, o.name, "%s: bytes end in Bytes", o.at)
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
