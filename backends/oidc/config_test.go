package oidc_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/backends/oidc"
)

func TestParseErrors(t *testing.T) {
	const begin = "issuer https://a.test a\naudience x\n"
	for text, want := range map[string]string{
		"":                           "",
		"# nobody\n\n":               "",
		begin:                        "",
		begin + "allow * read a=b\n": "",
		"issuer http://127.0.0.1:1 a\naudience x":                           "",
		"issuer http://[::1]:1 a\naudience x":                               "",
		"issuer https://a.test a\n":                                         "jobs:1: the issuer has no audience",
		"\nissuer https://a.test a\n" + strings.Replace(begin, "a", "b", 1): "jobs:3: ",
		"issuer https://a.test a\nissuer https://b.test b\naudience x":      "jobs:1: the issuer has no audience",
		"issuer http://a.test a":                                            "or http on a loopback address",
		"issuer http://127.0.0.1.a.test a":                                  "or http on a loopback address",
		"issuer https:///x a":                                               "is no URL of an issuer",
		"issuer https://u:p@a.test a":                                       "is no URL of an issuer",
		"issuer https://a.test?x a":                                         "is no URL of an issuer",
		"issuer https://a.test":                                             "want issuer URL LABEL",
		"issuer https://a.test a:b":                                         "bad label",
		begin + "issuer https://a.test b":                                   "jobs:3: another line has the same issuer or label",
		begin + "issuer https://b.test a":                                   "jobs:3: another line has the same issuer or label",
		"audience x":                                                        "jobs:1: audience stands before any issuer",
		"allow * read a=b":                                                  "jobs:1: allow stands before any issuer",
		begin + "audience":                                                  "want audience AUDIENCE",
		begin + "audience a b":                                              "want audience AUDIENCE",
		begin + "allow * read":                                              "every job of the issuer would be let in",
		begin + "allow * write a=b":                                         `jobs:3: unknown right "write"`,
		begin + "allow [ read a=b":                                          "jobs:3: bad pattern",
		begin + "allow , read a=b":                                          "no pattern",
		begin + "allow * read a":                                            `"a" is not CLAIM=GLOB`,
		begin + "allow * read =b":                                           `"=b" is not CLAIM=GLOB`,
		begin + "allow * read a=":                                           `"a=" is not CLAIM=GLOB`,
		begin + "deny * read a=b":                                           `"deny" is none of issuer, audience and allow`,
		begin + "allow * read a=" + strings.Repeat("x", 1001):               "a glob of more than 1000 bytes",
		"# \x1b":                     "",
		"a\x1b":                      "can't be printed",
		strings.Repeat("#\n", 1<<20): "issuers of more than 1048576 bytes",
	} {
		_, err := oidc.Parse("jobs", strings.NewReader(text))
		if want == "" {
			require.NoError(t, err, text)
		} else {
			assert.ErrorContains(t, err, want, text)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("issuer https://a.test a\naudience x\nallow * read a=**/b?c*\n", "x/b/c")
	f.Add("# c\n\nissuer http://127.0.0.1:1/p/ b sub\r\naudience y\nallow a.test,b.test read,publish a=[x] b=\\d\n", "[x]")
	f.Fuzz(func(t *testing.T, text, token string) {
		_, err := oidc.Parse("jobs", strings.NewReader(text))
		if err != nil && !strings.HasPrefix(err.Error(), "jobs:") {
			t.Errorf("error without a place: %v", err)
		}
	})
}

// FuzzVerify presents what no issuer has signed.
func FuzzVerify(f *testing.F) {
	key := newPair(f, "1")
	i := newIssuer(f, key)
	jobs, _, _ := open(f, i.config(allowApp), nil)
	good := i.token(key, nil)
	f.Add(good[:len(good)-4])
	f.Add("eyJhbGciOiJub25lIn0.eyJpc3MiOiJ4In0.")
	signed := good[:strings.LastIndex(good, ".")+1] // a signature may be spelled in several ways
	f.Fuzz(func(t *testing.T, token string) {
		if who, err := jobs.Verify(t.Context(), token); who != nil && !strings.HasPrefix(token, signed) {
			t.Errorf("%q is let in as %s (%v)", token, who.Name, err)
		}
	})
}
