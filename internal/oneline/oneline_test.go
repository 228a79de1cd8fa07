package oneline_test

import (
	"fmt"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"

	"github.com/athens-go/athens/internal/oneline"
)

func ExampleOf() {
	fmt.Println(oneline.Of("  fatal: no such ref\r\n\x1b[31mhint\x1b[0m: \xff look again\n", 100))
	fmt.Println(oneline.Of("überübers", 8))
	// Output:
	// fatal: no such ref [31mhint [0m: look again
	// über…
}

func TestOf(t *testing.T) {
	for _, c := range []struct {
		text string
		max  int
		want string
	}{
		{"", 3, ""}, {"\x00\n", 3, ""}, {"abc", 3, "abc"}, {"abcd", 3, "…"}, {"äbcd", 4, "…"}, {"äbcd", 5, "äbcd"}, {"a\u202eb\u2028c", 10, "a b c"},
	} {
		assert.Equal(t, c.want, oneline.Of(c.text, c.max), "%q", c.text)
	}
}

func FuzzOf(f *testing.F) {
	f.Add("a\nb", 3)
	f.Add("\xff\xfe…", 4)
	f.Fuzz(func(t *testing.T, text string, most int) {
		most = max(most, 3)
		got := oneline.Of(text, most)
		if len(got) > most || !utf8.ValidString(got) {
			t.Errorf("%q", got)
		}
		for _, r := range got {
			if !unicode.IsPrint(r) {
				t.Errorf("%q has %q", got, r)
			}
		}
		if again := oneline.Of(got, most); again != got {
			t.Errorf("%q, then %q", got, again)
		}
	})
}
