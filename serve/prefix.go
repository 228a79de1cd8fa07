package serve

import (
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/athens-go/athens/internal/protocol"
)

// cleanPrefix returns a path under which a server is mounted without the slash at its end,
// and "" for the root.
func cleanPrefix(prefix string) (string, error) {
	cleaned := strings.TrimSuffix(prefix, "/")
	if cleaned == "" {
		return "", nil
	}
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-_./~", r)
	}
	if cleaned == "/" || cleaned[0] != '/' || path.Clean(cleaned) != cleaned || strings.TrimFunc(cleaned, plain) != "" {
		return "", fmt.Errorf("serve: the prefix %q is not a path such as /go; use letters, digits and -_.~ between slashes", prefix)
	}
	return cleaned, nil
}

// underPrefix returns a handler that serves root below a path, and probes also without it:
// a load balancer asks the server itself.
func underPrefix(prefix string, root http.Handler, health *Health) http.Handler {
	below := http.StripPrefix(prefix, root)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == prefix, strings.HasPrefix(r.URL.Path, prefix+"/"):
			below.ServeHTTP(w, r)
		case protocol.IsProbe(r):
			health.ServeHTTP(w, r)
		default:
			writeText(w, http.StatusNotFound, "not found: this server serves modules below "+prefix+"/\n")
		}
	})
}
