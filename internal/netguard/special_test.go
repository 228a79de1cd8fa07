package netguard

import (
	"encoding/csv"
	"net/netip"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// records reads a table of testdata, without its heading.
func records(t *testing.T, name string, columns ...string) [][]string {
	t.Helper()
	f, err := os.Open("testdata/" + name)
	require.NoError(t, err)
	defer f.Close()
	r := csv.NewReader(f)
	r.Comment = '#'
	all, err := r.ReadAll()
	require.NoError(t, err)
	require.Equal(t, columns, all[0])
	return all[1:]
}

// ends returns the first and the last address of a block.
func ends(p netip.Prefix) []netip.Addr {
	last := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	end, _ := netip.AddrFromSlice(last)
	return []netip.Addr{p.Addr(), end}
}

// Nothing that IANA's registries call not globally reachable is public, and each block of
// the list is one of theirs or one that the comment there explains.
func TestSpecialsAreTheRegistries(t *testing.T) {
	embedding := []string{"::ffff:0:0/96", "64:ff9b::/96", "2002::/16"} // judged by what is in them
	stricter := map[string]bool{"224.0.0.0/4": true, "fec0::/10": true, "ff00::/8": true}
	var listed []netip.Prefix
	for _, record := range records(t, "iana-special-purpose.csv", "prefix", "name", "rfc", "globally reachable") {
		prefix := netip.MustParsePrefix(record[0])
		require.Equal(t, prefix, prefix.Masked(), record)
		require.Regexp(t, `^RFC\d+$`, record[2])
		require.Contains(t, []string{"yes", "no", "na"}, record[3])
		listed = append(listed, prefix)
		if assert.Contains(t, []int{32, 128}, prefix.Addr().BitLen()); !slices.Contains(embedding, record[0]) {
			for _, ip := range ends(prefix) {
				assert.False(t, IsPublic(ip), "%v (%s)", ip, record)
			}
		}
	}
	require.Len(t, listed, 26+25)
	for _, s := range specials {
		known := stricter[s.prefix.String()]
		for _, prefix := range listed {
			known = known || prefix == s.prefix
		}
		assert.True(t, known, "%v (%s) is in no registry", s.prefix, s.name)
	}
}

// The clouds' addresses are those of the table, which names a source for each.
func TestCloudsHaveSources(t *testing.T) {
	var want []special
	for _, record := range records(t, "clouds.csv", "prefix", "what", "source") {
		require.NotEmpty(t, record[2])
		want = append(want, special{netip.MustParsePrefix(record[0]), record[1]})
	}
	assert.ElementsMatch(t, want, clouds)
}
