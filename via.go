package athens

import (
	"context"
	"net/http"
	"strings"

	"github.com/athens-go/athens/internal/via"
)

// maxServers is how many servers may ask one another before it counts as a
// loop.
const maxServers = 10

// Via returns the Via header for requests made in ctx: the servers that the
// question has come through, this one last. An [Upstream] sends it, so that a
// server that meets its own name answers with a [*LoopError]. It is empty
// outside of a handler's work.
func Via(ctx context.Context) string { return via.From(ctx) }

// chain returns the servers like this one that a question came through. Other
// kinds of proxies name themselves in Via headers, too, and do not count.
func (h *Handler) chain(header http.Header) (string, error) {
	values := header.Values("Via")
	if len(values) == 0 {
		return "", nil
	}
	var servers []string
	for entry := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if _, name, ok := strings.Cut(strings.TrimSpace(entry), " "); ok && isServer(name) {
			servers = append(servers, "1.1 "+name)
			if name == h.id || len(servers) > maxServers {
				return "", &LoopError{Via: strings.Join(servers, ", ")}
			}
		}
	}
	return strings.Join(servers, ", "), nil
}

// isServer reports whether a name in a Via header is one that NewHandler gives.
func isServer(name string) bool {
	id, ok := strings.CutPrefix(name, "athens-")
	return ok && len(id) == 26 && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// onward returns the context for questions to src: with this server added to chain,
// and with whether the module is private.
func (h *Handler) onward(ctx context.Context, src source, chain string) context.Context {
	ctx = WithPrivate(ctx, src.Private)
	if chain != "" {
		chain += ", "
	}
	return via.With(ctx, chain+"1.1 "+h.id)
}
