package protocol

import "net/http"

// IsProbe reports whether r asks for a server's health. No module path can be that of a
// probe: its first element has a dot.
func IsProbe(r *http.Request) bool {
	return IsQuestion(r) && (r.URL.Path == "/healthz" || r.URL.Path == "/readyz")
}

// IsQuestion reports whether r asks for something and changes nothing.
func IsQuestion(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}
