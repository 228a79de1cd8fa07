package redirect

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"strings"
)

// sniffed is how many bytes of an answer are read to recognize it.
const sniffed = 512

// pageError says that an answer is not the requested content: a page for people, such as a
// sign-in or maintenance page, or other unexpected content. It is an outage: the server, or a
// proxy in front of it, has not answered the question.
type pageError struct {
	what string
	host string // that sent it; "" if it is the server's own
}

func (e pageError) Error() string {
	s := "it answers 200 with " + e.what
	if e.host != "" {
		s += " of " + e.host
	}
	return s + ", perhaps a sign-in or maintenance page"
}

// page returns an error if an answer is a page for people. It judges by the first bytes, since
// servers and proxies in front of them send any Content-Type. No list, .info, .mod, .zip or answer
// of a checksum database begins like this.
func (c *client) page(resp *http.Response, body *bufio.Reader) error {
	// No more is waited for than is needed: the rest may come later.
	if first, _ := body.Peek(1); len(first) == 0 || bytes.IndexByte([]byte("< \t\r\n\xef\xfe\xff"), first[0]) < 0 {
		return nil
	}
	start, _ := body.Peek(sniffed)
	if !isPage(start) {
		return nil
	}
	err := pageError{what: "an HTML page"}
	if at := resp.Request; at != nil && at.URL != nil && !strings.HasPrefix(c.source+"/", at.URL.Scheme+"://"+at.URL.Host+"/") {
		err.host = at.URL.Host
	}
	return err
}

// isPage reports whether a text begins as HTML or XML does.
func isPage(start []byte) bool {
	start = bytes.TrimPrefix(start, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(start, []byte("\xff\xfe")) || bytes.HasPrefix(start, []byte("\xfe\xff")) {
		start = bytes.ReplaceAll(start[2:], []byte{0}, nil) // UTF-16
	}
	text := strings.ToLower(string(bytes.TrimSpace(start)))
	for _, tag := range []string{"<!doctype", "<html", "<head", "<body", "<script", "<meta", "<title", "<?xml", "<!--", "<svg", "<center", "<h1", "<div", "<p>"} {
		if strings.HasPrefix(text, tag) {
			return true
		}
	}
	return false
}

// notAsked returns the outage of a server that answered with unexpected content.
func (c *client) notAsked(format string, args ...any) error {
	return c.unavailable(pageError{what: fmt.Sprintf(format, args...)}, 0)
}
