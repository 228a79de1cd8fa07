package gitconfig

import (
	"net/url"
	"path"
	"slices"
	"strings"
)

// Rewrite returns the URL by which git would reach rawURL: the longest
// url.<base>.insteadOf that it begins with is replaced by that base.
func (c *Config) Rewrite(rawURL string) string {
	var bases []string // as git does, those that were named first come first
	for _, v := range c.vars {
		if v.isInsteadOf() && !slices.Contains(bases, v.Subsection) {
			bases = append(bases, v.Subsection)
		}
	}
	best, rewritten := -1, rawURL
	for _, base := range bases {
		for _, v := range c.vars {
			rest, ok := strings.CutPrefix(rawURL, v.Value)
			if ok && v.isInsteadOf() && v.Subsection == base && len(v.Value) > best {
				best, rewritten = len(v.Value), base+rest
			}
		}
	}
	return rewritten
}

func (v Variable) isInsteadOf() bool { return v.Section == "url" && v.Name == "insteadof" }

// HTTP returns the values of http.<url>.<name> and of http.<name> that apply
// to u, in order. A value that fits u less well than an earlier one is skipped. As
// in git's lists, an empty value drops those before it.
func (c *Config) HTTP(u *url.URL, name string) []string {
	var list []string
	for _, v := range c.fitting(u, name) {
		if v == "" {
			list = nil
			continue
		}
		list = append(list, v)
	}
	return list
}

// HTTPLast returns the last value, for variables that are not lists. There an empty
// value has no special meaning.
func (c *Config) HTTPLast(u *url.URL, name string) (value string, ok bool) {
	values := c.fitting(u, name)
	if len(values) == 0 {
		return "", false
	}
	return values[len(values)-1], true
}

func (c *Config) fitting(u *url.URL, name string) []string {
	var values []string
	var best fit
	to := normalize(u)
	for _, v := range c.vars {
		if v.Section != "http" || v.Name != strings.ToLower(name) {
			continue
		}
		var f fit
		if v.Subsection != "" {
			var ok bool
			if f, ok = to.fits(v.Subsection); !ok {
				continue
			}
		}
		if f.less(best) {
			continue
		}
		best = f
		values = append(values, v.Value)
	}
	return values
}

// A fit says how well a pattern fits a URL: the longer its host, then its path,
// and then with a user name, the better.
type fit struct {
	host, path, user int
}

func (a fit) less(b fit) bool {
	if a.host != b.host {
		return a.host < b.host
	}
	if a.path != b.path {
		return a.path < b.path
	}
	return a.user < b.user
}

// A target is a URL in the form in which URLs are compared.
type target struct {
	scheme, user, host, port, path string
}

func normalize(u *url.URL) target {
	t := target{scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Hostname()), port: u.Port()}
	if u.User != nil {
		t.user = u.User.Username()
	}
	if t.port == "" {
		t.port = map[string]string{"http": "80", "https": "443"}[t.scheme]
	}
	t.path = path.Clean("/" + u.Path)
	return t
}

// fits reports whether the URL is below pattern, and how well it fits.
func (t target) fits(pattern string) (fit, bool) {
	u, err := url.Parse(pattern)
	if err != nil || u.Host == "" {
		return fit{}, false
	}
	p := normalize(u)
	if p.scheme != t.scheme || p.port != t.port || !matchHost(p.host, t.host) {
		return fit{}, false
	}
	f := fit{host: len(p.host), path: 1}
	if p.user != "" {
		if p.user != t.user {
			return fit{}, false
		}
		f.user = 1
	}
	if p.path != "/" {
		if rest, ok := strings.CutPrefix(t.path, p.path); !ok || rest != "" && rest[0] != '/' {
			return fit{}, false
		}
		f.path = len(p.path) + 1
	}
	return f, true
}

// matchHost compares hosts label by label; "*" is any label.
func matchHost(pattern, host string) bool {
	labels, of := strings.Split(host, "."), strings.Split(pattern, ".")
	return slices.EqualFunc(labels, of, func(label, p string) bool { return p == "*" || p == label })
}
