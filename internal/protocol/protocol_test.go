package protocol

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

func TestParse(t *testing.T) {
	m := func(path, version string) module.Version { return module.Version{Path: path, Version: version} }
	for _, c := range []struct {
		path string
		want Request
	}{
		{"example.com/m/@v/list", Request{Kind: List, Module: m("example.com/m", "")}},
		{"example.com/m/@latest", Request{Kind: Latest, Module: m("example.com/m", "")}},
		{"example.com/!upper/@v/v1.0.0.info", Request{Kind: Info, Module: m("example.com/Upper", "v1.0.0")}},
		{"example.com/m/@v/v1.0.0-!r!c.mod", Request{Kind: Mod, Module: m("example.com/m", "v1.0.0-RC")}},
		{"example.com/m/v2/@v/v2.0.0.zip", Request{Kind: Zip, Module: m("example.com/m/v2", "v2.0.0")}},
		{"example.com/m/@v/v2.0.0+incompatible.zip", Request{Kind: Zip, Module: m("example.com/m", "v2.0.0+incompatible")}},
		{"example.com/m/@v/v2.0.0.info", Request{Kind: Query, Module: m("example.com/m", "v2.0.0")}},
		{"example.com/m/@v/v1.info", Request{Kind: Query, Module: m("example.com/m", "v1")}},
		{"example.com/m/@v/main.info", Request{Kind: Query, Module: m("example.com/m", "main")}},
		{"example.com/m/@v/v1.0.0+meta.info", Request{Kind: Query, Module: m("example.com/m", "v1.0.0+meta")}},
		{"example.com/m/@v/list.info", Request{Kind: Query, Module: m("example.com/m", "list")}},
		{"sumdb/sum.test/supported", Request{Kind: SumDB, DB: "sum.test", Op: Supported}},
		{"sumdb/sum.test/latest", Request{Kind: SumDB, DB: "sum.test", Op: LatestTree}},
		{"sumdb/sum.test/go/supported", Request{Kind: SumDB, DB: "sum.test/go", Op: Supported}},
		{"sumdb/Sum.test:8443/a_b/~c/latest", Request{Kind: SumDB, DB: "Sum.test:8443/a_b/~c", Op: LatestTree}},
		{"sumdb/[::1]:8443/supported", Request{Kind: SumDB, DB: "[::1]:8443", Op: Supported}},
		{"sumdb/bücher.test/@go/supported", Request{Kind: SumDB, DB: "bücher.test/@go", Op: Supported}},
		{"sumdb/localhost.localdev/sumdb/tile/8/0/x001/234", Request{Kind: SumDB, DB: "localhost.localdev/sumdb", Op: TileRequest}},
		{"sumdb/sum.test/tile/tile/8/0/001", Request{Kind: SumDB, DB: "sum.test/tile", Op: TileRequest}},
		{"sumdb/sum.test/latest/latest", Request{Kind: SumDB, DB: "sum.test/latest", Op: LatestTree}},
		{"sumdb/sum.test/go/lookup/example.com/lookup/m@v1.0.0", Request{Kind: SumDB, DB: "sum.test/go", Op: Lookup, Module: m("example.com/lookup/m", "v1.0.0")}},
		{"sumdb/sum.test/tile/8/0/x001/234", Request{Kind: SumDB, DB: "sum.test", Op: TileRequest}},
		{"sumdb/sum.test/tile/8/data/003.p/7", Request{Kind: SumDB, DB: "sum.test", Op: TileRequest}},
		{"sumdb/sum.test/lookup/example.com/!m@v1.0.0", Request{Kind: SumDB, DB: "sum.test", Op: Lookup, Module: m("example.com/M", "v1.0.0")}},
	} {
		got, err := Parse(c.path)
		require.NoError(t, err, c.path)
		assert.Equal(t, c.want, got, c.path)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ path, want string }{
		{"", ErrUnknown.Error()},
		{"favicon.ico", ErrUnknown.Error()},
		{"example.com/m/@v/", ErrUnknown.Error()},
		{"example.com/m/@v/v1.0.0.txt", ErrUnknown.Error()},
		{"example.com/m/@v/.info", "malformed version"},
		{"example.com/m/@v/../../x.info", "malformed version"},
		{"example.com/m/@v/a/@v/v1.0.0.info", "malformed version"},
		{"example.com/Upper/@v/list", "malformed module path"},
		{"example.com/../etc/@v/list", "malformed module path"},
		{"/example.com/m/@v/list", "malformed module path"},
		{"example.com/m\x00/@v/list", "malformed module path"},
		{"example.com/\u202em/@v/list", `malformed module path "example.com/\u202em"`},
		{"example.com/m/@v/master.zip", ErrVersion.Error()},
		{"example.com/m/@v/v2.0.0.mod", ErrVersion.Error()},
		{strings.Repeat("a", MaxPath+1), ErrTooLong.Error()},
		{"sumdb/sum.test", ErrUnknown.Error()},
		{"sumdb/sum.test/secret", ErrUnknown.Error()},
		{"sumdb/corp.test%2Fsecret/supported", "malformed checksum database name"},
		{"sumdb/sum.test/tile/8/0/../001", "malformed tile path"},
		{"sumdb/sum.test/lookup/example.com/M@v1.0.0", "malformed module path"},
		{"sumdb/sum.test/lookup/example.com/m@main", "malformed version"},
		{"sumdb/sum.test/lookup/example.com/m", "malformed lookup"},
	} {
		_, err := Parse(c.path)
		if assert.Error(t, err, "%.80q", c.path) {
			assert.Contains(t, err.Error(), c.want, "%.80q", c.path)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"example.com/!m/@v/v1.0.0.info", "example.com/m/@latest", "example.com/m/@v/list", "sumdb/sum.test/lookup/example.com/m@v1.0.0", "sumdb/sum.test/tile/8/0/001", "example.com/m/@v/a!b.info"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		r, err := Parse(path)
		if err != nil {
			for _, c := range err.Error() {
				if c < ' ' || c > '~' && c != '…' {
					t.Fatalf("error with unprintable %q", c)
				}
			}
			return
		}
		// What was read and written again is the same path.
		var again string
		switch r.Kind {
		case List:
			again, err = ListPath(r.Module.Path)
		case Latest:
			again, err = LatestPath(r.Module.Path)
		case Info, Query:
			again, err = FilePath(r.Module, "info")
		case Mod:
			again, err = FilePath(r.Module, "mod")
		case Zip:
			again, err = FilePath(r.Module, "zip")
		default:
			return
		}
		if err != nil || again != path {
			t.Fatalf("%q became %q (%v)", path, again, err)
		}
	})
}

func ExampleParse() {
	r, err := Parse("example.com/!hello/@v/v1.2.3.zip")
	fmt.Println(r.Module, r.Kind == Zip, err)
	// Output: example.com/Hello@v1.2.3 true <nil>
}
