package rules

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// maxPlaces bounds the places of one upstream line.
const maxPlaces = 16

// place is one of the places that an upstream line names.
type place struct {
	url     string // with its credentials; "" for vcs and off
	off     bool
	onError bool // the next place is asked after any error
}

// shown returns the place as a person may see it.
func (p place) shown() string {
	switch {
	case p.off:
		return "off"
	case p.url == "":
		return "vcs"
	}
	u, err := url.Parse(p.url)
	if err != nil {
		return "?" // it was parsed before
	}
	u.User = nil
	return u.String()
}

// parseUpstream reads a pattern and the places behind it. Nothing of a place is quoted in
// an error: it may have credentials.
func (s *scanner) parseUpstream(r *rule) (err error) {
	globs, column := s.word()
	switch {
	case globs == "" || globs[0] == '#':
		return &columnError{column, errors.New("upstream needs a pattern")}
	case strings.ContainsAny(globs, ":@"):
		return &columnError{column, errors.New("upstream needs a pattern before the URL; * matches every module")}
	}
	if r.globs, err = parsePattern(globs, column); err != nil {
		return err
	}
	s.skipSpace()
	list, begin := s.line[s.at:], s.at+1
	if hash := strings.IndexByte(list, '#'); hash >= 0 {
		list = list[:hash]
	}
	s.at += len(list)
	if r.places, err = parsePlaces(list, begin); err != nil {
		return err
	}
	if err := s.end(r); err != nil {
		return err
	}
	r.text = "upstream " + globs + " " + showPlaces(r.places)
	if r.reason != "" {
		r.text += " # " + r.reason
	}
	return nil
}

// parsePlaces reads places that are separated by , or |, as in GOPROXY; the list stands at
// column.
func parsePlaces(list string, column int) ([]place, error) {
	if strings.TrimSpace(list) == "" {
		return nil, &columnError{column, errors.New("upstream needs a URL, vcs or off")}
	}
	var places []place
	for begin := 0; begin <= len(list); {
		end := len(list)
		if i := strings.IndexAny(list[begin:], ",|"); i >= 0 {
			end = begin + i
		}
		item := list[begin:end]
		p, err := parsePlace(strings.TrimSpace(item))
		if n := len(places); err == nil && n > 0 && places[n-1].url == "" {
			err = fmt.Errorf("nothing can follow %s, because it always answers", places[n-1].shown())
		}
		if err == nil && len(places) == maxPlaces {
			err = fmt.Errorf("more than %d sources", maxPlaces)
		}
		if err != nil {
			return nil, &columnError{column + begin + len(item) - len(strings.TrimLeft(item, " \t")), err}
		}
		p.onError = end < len(list) && list[end] == '|'
		places = append(places, p)
		begin = end + 1
	}
	return places, nil
}

// parsePlace reads one place.
func parsePlace(text string) (place, error) {
	switch text {
	case "":
		return place{}, errors.New("empty entry in the list")
	case "vcs":
		return place{}, nil
	case "off":
		return place{off: true}, nil
	case "direct":
		return place{}, errors.New("version control is called vcs here, not direct")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || strings.ContainsFunc(text, unicode.IsSpace):
		return place{}, errors.New("malformed URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" || u.ForceQuery:
		return place{}, errors.New("want a URL of http or https with a host and without a query, vcs or off")
	}
	return place{url: text}, nil
}

// showPlaces writes places as a line has them, without credentials.
func showPlaces(places []place) string {
	var b strings.Builder
	for i, p := range places {
		if i > 0 {
			b.WriteByte(map[bool]byte{true: '|', false: ','}[places[i-1].onError])
		}
		b.WriteString(p.shown())
	}
	return b.String()
}

// open makes sources of what the upstream lines name, with the servers that are known, and
// returns all servers by their URLs.
func (r *Rules) open(known map[string]athens.Upstream, open func(url string) (athens.Upstream, error)) (map[string]athens.Upstream, error) {
	servers := make(map[string]athens.Upstream)
	for i := range r.lines {
		l := &r.lines[i]
		for _, p := range l.places {
			source := athens.Source{OnError: p.onError}
			if p.off {
				source.Upstream = nowhere{l.place}
			}
			if p.url != "" {
				up, ok := servers[p.url]
				if !ok {
					up, ok = known[p.url]
				}
				if !ok {
					if open == nil {
						return nil, fmt.Errorf("%s: this program does not support upstream rules", l.place)
					}
					var err error
					if up, err = open(p.url); err != nil {
						closeUnused(servers, known)
						return nil, fmt.Errorf("%s: %w", l.place, err)
					}
				}
				servers[p.url], source.Upstream = up, up
			}
			l.from = append(l.from, source)
		}
	}
	return servers, nil
}

// closeUnused closes idle connections to servers that are not in use.
func closeUnused(servers, used map[string]athens.Upstream) {
	for url, up := range servers {
		if c, ok := up.(interface{ CloseIdleConnections() }); ok && used[url] != up {
			c.CloseIdleConnections()
		}
	}
}

// explainUpstream returns the line of Explain about where a module comes from, if a line
// says so.
func (r *Rules) explainUpstream(path string, private bool) string {
	n := r.upstreams.Last(path)
	switch {
	case n < 0:
		return ""
	case private:
		return "from version control, because it is private, and not as of " + r.cite(n) + "\n"
	}
	return "from " + showPlaces(r.lines[n].places) + ": " + r.cite(n) + "\n"
}

// nowhere is the source of what comes from nowhere, because of the line at a place.
type nowhere struct{ place string }

var _ athens.Upstream = nowhere{}

func (n nowhere) missing(path, query string) error {
	return &athens.MissingError{Path: path, Query: query, Err: errors.New("not in the store, and the rules allow no source (" + n.place + ")")}
}

// Versions implements [athens.Upstream].
func (n nowhere) Versions(_ context.Context, path string) ([]string, error) {
	return nil, n.missing(path, "")
}

// Resolve implements [athens.Upstream].
func (n nowhere) Resolve(_ context.Context, path, query string) (*athens.Info, error) {
	return nil, n.missing(path, query)
}

// Fetch implements [athens.Upstream].
func (n nowhere) Fetch(_ context.Context, m module.Version) (athens.Content, error) {
	return nil, n.missing(m.Path, m.Version)
}

// Location implements [athens.Upstream]. No client is sent anywhere.
func (n nowhere) Location(context.Context, string) (string, error) { return "", nil }
