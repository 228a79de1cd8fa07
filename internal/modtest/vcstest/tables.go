package vcstest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"
	"time"
)

// Row is one row of a table: the fields that it sets, by their names. A value is
// a string, a []string or a [time.Time].
type Row map[string]any

// Text returns a field that holds a string, or "".
func (r Row) Text(field string) string { s, _ := r[field].(string); return s }

// List returns a field that holds strings, or nil.
func (r Row) List(field string) []string { s, _ := r[field].([]string); return s }

// Time returns a field that holds a time, or the zero one.
func (r Row) Time(field string) time.Time { t, _ := r[field].(time.Time); return t }

// Table reads a table of expectations, given by its variable's name: a slice of
// structs whose fields have keys.
func (s *Source) Table(t testing.TB, name string) []Row {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), s.tables(), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := tableOf(file, name)
	if err != nil {
		t.Fatalf("%s in %s: %v", name, s.tables(), err)
	}
	return rows
}

// tableOf finds the variable in the file and reads its rows.
func tableOf(file *ast.File, name string) ([]Row, error) {
	var rows []Row
	for _, d := range file.Decls {
		decl, ok := d.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range decl.Specs {
			v, ok := spec.(*ast.ValueSpec)
			if !ok || len(v.Names) != 1 || v.Names[0].Name != name || len(v.Values) != 1 {
				continue
			}
			table, ok := v.Values[0].(*ast.CompositeLit)
			if !ok {
				return nil, fmt.Errorf("it is a %T", v.Values[0])
			}
			for _, e := range table.Elts {
				row, err := rowOf(e)
				if err != nil {
					return nil, err
				}
				rows = append(rows, row)
			}
		}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("there is no such table")
	}
	return rows, nil
}

func rowOf(e ast.Expr) (Row, error) {
	lit, ok := e.(*ast.CompositeLit)
	if !ok {
		return nil, fmt.Errorf("a row is a %T", e)
	}
	row := Row{}
	for _, field := range lit.Elts {
		pair, ok := field.(*ast.KeyValueExpr)
		if !ok {
			return nil, fmt.Errorf("a field is a %T", field)
		}
		key, ok := pair.Key.(*ast.Ident)
		if !ok {
			return nil, fmt.Errorf("a key is a %T", pair.Key)
		}
		value, err := valueOf(pair.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key.Name, err)
		}
		row[key.Name] = value
	}
	return row, nil
}

// valueOf reads a string, nil, a []string or a call of time.Date.
func valueOf(e ast.Expr) (any, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(e.Value)
	case *ast.Ident:
		if e.Name == "nil" {
			return []string(nil), nil
		}
	case *ast.CompositeLit:
		var list []string
		for _, item := range e.Elts {
			v, err := valueOf(item)
			s, ok := v.(string)
			if err != nil || !ok {
				return nil, fmt.Errorf("an item of a list is a %T", item)
			}
			list = append(list, s)
		}
		return list, nil
	case *ast.CallExpr:
		return dateOf(e)
	}
	return nil, fmt.Errorf("a value is a %T", e)
}

// dateOf reads time.Date(2018, 2, 19, 23, 10, 6, 0, time.UTC).
func dateOf(call *ast.CallExpr) (any, error) {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || fun.Sel.Name != "Date" || len(call.Args) != 8 {
		return nil, fmt.Errorf("it calls something else than time.Date")
	}
	var n [7]int
	for i := range n {
		digits, ok := call.Args[i].(*ast.BasicLit)
		if !ok {
			return nil, fmt.Errorf("a part of a date is a %T", call.Args[i])
		}
		var err error
		if n[i], err = strconv.Atoi(digits.Value); err != nil {
			return nil, err
		}
	}
	return time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6], time.UTC), nil
}
