package storage

import (
	"bytes"
	"testing"

	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// records are those of example.com/mod v1.0.0 with something left out.
func records() []record {
	a := storagetest.NewSample("example.com/mod", "v1.0.0", "")
	info := []byte(`{"Version":"v1.0.0"}`)
	return []record{
		{}, {mod: a.H1}, {zip: a.H1}, {zip: a.H1, raw: rawSum(1<<40, 7)}, {info: info},
		{mod: a.H1, zip: a.H1, raw: rawSum(48213, 1<<31), info: info},
		{mod: a.H1, info: []byte("\n{\n\"Version\":\n\"v1.0.0\"}\n\n")},
	}
}

func TestRecord(t *testing.T) {
	m := module.Version{Path: "example.com/mod", Version: "v1.0.0"}
	for _, r := range records() {
		data := r.encode(m)
		got, err := parseRecord(m, data)
		require.NoError(t, err, "%s", data)
		assert.Equal(t, r, got)
		for _, other := range []module.Version{{Path: "example.com/mod", Version: "v1.0.1"}, {Path: "example.com/mo", Version: "v1.0.0"}} {
			_, err := parseRecord(other, data)
			assert.ErrorIs(t, err, errRecord, "a record of another version")
		}
		for at := range data {
			for bit := range 8 {
				bad := bytes.Clone(data)
				bad[at] ^= 1 << bit
				_, err := parseRecord(m, bad)
				require.ErrorIs(t, err, errRecord, "byte %d bit %d of %q", at, bit, data)
			}
			_, err := parseRecord(m, data[:at])
			require.ErrorIs(t, err, errRecord, "%d bytes of %q", at, data)
		}
	}
	full := records()[5]
	assert.Equal(t, "athens 1 Bnyyt5kzdDX68iHhZCr855zWm+LiWq1Gifm8YEbd3Gg=\nexample.com/mod v1.0.0\n", string(record{}.encode(m)))
	assert.Equal(t, full, full.with(record{mod: "other", zip: "other", raw: "1 x", info: []byte("other")}), "what is recorded stays")
	assert.Equal(t, full, record{}.with(full))
	packed := full
	packed.raw = rawSum(1, 2)
	assert.Equal(t, packed, full.with(packed))
}

// FuzzRecord reads what may be no record. One that is read has that spelling, and a
// record that is longer than any takes no memory.
func FuzzRecord(f *testing.F) {
	m := module.Version{Path: "example.com/mod", Version: "v1.0.0"}
	for _, r := range records() {
		f.Add(r.encode(m), []byte(`{"Version":"v1.0.0"}`), "h1:x")
	}
	f.Add([]byte("athens 1 \nexample.com/mod v1.0.0\nzip  \ninfo"), []byte{}, "\n")
	f.Fuzz(func(t *testing.T, data, info []byte, hash string) {
		r, err := parseRecord(m, data)
		if err == nil && !bytes.Equal(r.encode(m), data) {
			t.Errorf("%q is read, and would be written as %q", data, r.encode(m))
		}
		// What was never encoded by a store, with the right checksum.
		made := record{mod: hash, zip: hash, raw: hash, info: info}
		got, err := parseRecord(m, made.encode(m))
		known := func(hash string) bool { return hash == "" || isHash(hash) } // what is empty is not known
		if err == nil && (!known(got.mod) || !known(got.zip) || got.info != nil && !isInfo(m, got.info)) {
			t.Errorf("%+v is read as %+v", made, got)
		}
	})
}
