package redirect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/redirect"
)

// What an upstream says of a version is passed on as it came, but for credentials.
func TestInfoAsItCame(t *testing.T) {
	const head = `{"Version":"v1.0.0","Time":"2024-01-02T03:04:05+02:00"`
	for name, c := range map[string]struct {
		body string
		kept bool
	}{
		"zone and fields of the future": {" " + head + `,"Later":{"a":1},"Origin":{"URL":"ssh://git@corp.test/m","Later":2}}` + "\n", true},
		"password":                      {head + `,"Origin":{"URL":"https://u:hunter2@corp.test/m","Hash":"abc"}}`, false},
		"password of ssh":               {head + `,"Origin":{"URL":"ssh://u:hunter2@corp.test/m"}}`, false},
		"password in other words":       {head + `,"Origin":{"URL":"https:\/\/u:hunter2\u0040corp.test/m"}}`, false},
		"password elsewhere":            {head + `,"Later":["see https://hunter2@corp.test/m"]}`, false},
		"password said twice":           {head + `,"origin":{"url":"https://hunter2@corp.test/m"},"Origin":{"URL":"https://corp.test/m"}}`, false},
		"password of no URL":            {head + `,"Origin":{"URL":"https://u:hunter2%zz@corp.test/m","Ref":"https://hunter2@corp.test/"}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, c.body) }))
			defer server.Close()
			u, err := redirect.New(server.URL, nil)
			require.NoError(t, err)
			content, err := u.Fetch(t.Context(), module.Version{Path: "corp.test/m", Version: "v1.0.0"})
			require.NoError(t, err)
			infos := make([]*athens.Info, 2)
			infos[0], err = content.Info(t.Context())
			require.NoError(t, err)
			infos[1], err = u.Resolve(t.Context(), "corp.test/m", "main")
			require.NoError(t, err)
			for _, info := range infos {
				b, err := info.Encode()
				require.NoError(t, err)
				if c.kept {
					assert.Equal(t, c.body, string(b))
				} else {
					assert.NotContains(t, string(b), "hunter2")
					assert.Contains(t, string(b), `{"Version":"v1.0.0","Time":"2024-01-02T01:04:05Z"`)
				}
			}
		})
	}
}
