package redirect

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/protocol"
	"github.com/athens-go/athens/internal/retryafter"
)

// maxText is how much of a server's words is repeated, in bytes.
const maxText = 512

// statusError is an answer that is no content.
type statusError struct {
	code int
	text string // the server's words, or ""
}

func (e *statusError) Error() string {
	status := strings.TrimSpace(fmt.Sprintf("%d %s", e.code, http.StatusText(e.code)))
	if e.text == "" {
		return "it answers " + status
	}
	return "it answers " + status + ": " + e.text
}

// Timeout reports whether the server itself waited in vain.
func (e *statusError) Timeout() bool { return e.code == http.StatusGatewayTimeout }

// refusal says what an answer other than content means; content is nil.
func (c *client) refusal(q question, resp *http.Response, body io.Reader) *failure {
	if resp.StatusCode == http.StatusOK {
		if coding := resp.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
			return &failure{err: q.invalid(errors.New("the answer has a Content-Encoding that was not requested"))}
		}
		return nil
	}
	text := c.words(resp, body, q)
	status := &statusError{resp.StatusCode, text}
	switch code := resp.StatusCode; {
	case code == http.StatusGone && removedWords(text, q) != "":
		return &failure{err: &athens.BlockedError{Path: q.module, Version: q.version, Reason: removedWords(text, q), Removed: true}}
	case code == http.StatusNotFound || code == http.StatusGone:
		missing := &athens.MissingError{Path: q.module, Query: q.version}
		if text != "" {
			missing.Err = errors.New(text)
		}
		return &failure{err: missing}
	case code == http.StatusForbidden || code == http.StatusUnavailableForLegalReasons:
		if text == "" {
			text = fmt.Sprintf("%s answers %d", c.source, code)
		}
		return &failure{err: &athens.BlockedError{Path: q.module, Version: q.version, Reason: text}}
	case code == http.StatusUnauthorized || code == http.StatusProxyAuthRequired:
		return &failure{err: c.unavailable(fmt.Errorf("it does not accept the credentials: %w", status), 0)}
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly, code == http.StatusTooManyRequests, code >= 500:
		after := retryafter.Parse(resp.Header, maxRetryAfter)
		if err := finalAnswer(q, resp, status); err != nil {
			return &failure{err: err}
		}
		return &failure{err: c.unavailable(status, after), again: code != http.StatusNotImplemented, after: after}
	default:
		// What a gateway, a filter or a limit in between says is no answer to the question.
		return &failure{err: c.unavailable(status, retryafter.Parse(resp.Header, maxRetryAfter))}
	}
}

// finalAnswer finds the 5xx answers that asking again can't change. Another
// Athens server answers 502 without Retry-After for what it found to be
// invalid, in conflict or asked for in a loop, and says which; the 502 of a
// gateway in front of a server that is just restarting says none of it.
func finalAnswer(q question, resp *http.Response, status *statusError) error {
	if resp.StatusCode == http.StatusLoopDetected {
		return q.invalid(&protocol.LoopError{Via: status.text})
	}
	if resp.StatusCode != http.StatusBadGateway || resp.Header.Get("Retry-After") != "" {
		return nil
	}
	if loop := protocol.LoopIn(status.text); loop != nil {
		return q.invalid(loop)
	}
	for _, word := range []string{": invalid: ", ": conflict: "} {
		if strings.Contains(status.text, word) {
			return q.invalid(status)
		}
	}
	return nil
}

// maxRetryAfter bounds a Retry-After header: no caller remembers one for longer.
const maxRetryAfter = 24 * time.Hour

// words returns what a server says of its refusal, fit to be repeated: one line
// without what this server's own error says anyway.
func (c *client) words(resp *http.Response, body io.Reader, q question) string {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if kind != "" && kind != "text/plain" || resp.Header.Get("Content-Encoding") != "" {
		return "" // a page for browsers, not for a terminal
	}
	// An error while reading takes nothing away from the status.
	b, _ := io.ReadAll(io.LimitReader(body, 8*maxText))
	text := c.clean(string(b))
	if resp.StatusCode == http.StatusGone && removedWords(text, q) != "" {
		return text
	}
	if word := saidAgain(resp.StatusCode); word != "" && strings.HasPrefix(text, q.module) {
		// Another Athens server: its words up to there are those of this
		// server's own error.
		if _, why, ok := strings.Cut(text, word); ok {
			return why
		}
	}
	return strings.TrimPrefix(text, saidAgain(resp.StatusCode))
}

// removedWords returns the reason for which another Athens server has removed a version;
// empty if text is not of that.
func removedWords(text string, q question) string {
	if q.module == "" || !strings.HasPrefix(text, q.module) {
		return ""
	}
	_, why, _ := strings.Cut(text, ": removed: ")
	return why
}

// saidAgain returns what this server's own error says before the reason.
func saidAgain(code int) string {
	switch code {
	case http.StatusNotFound, http.StatusGone:
		return "not found: "
	case http.StatusForbidden, http.StatusUnavailableForLegalReasons:
		return "blocked: "
	}
	return ""
}

// clean makes a text one printable line of at most maxText bytes that does not
// hold the credentials.
func (c *client) clean(text string) string {
	text = c.hidden.Replace(strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if len(text) <= maxText {
		return text
	}
	cut := maxText - len("…")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
