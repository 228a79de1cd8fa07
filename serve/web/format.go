package web

import (
	"fmt"
	"html/template"
	"net/url"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// functions are what templates call.
func functions() template.FuncMap {
	return template.FuncMap{
		"bytes": sizeText,
		"num":   number,
		"ago":   ago,
		"date":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
		"iso":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"ms":    durationText,
		"short": shortVersion,
		"count": count,
		"inc":   func(n int) int { return n + 1 },
	}
}

// With returns the view of other data, for a part of the page.
func (v *view) With(data any) *view {
	other := *v
	other.Data = data
	return &other
}

// Mod returns the URL of a module's page.
func (v *view) Mod(path string) string { return v.Base + "/-/m/" + escapePath(path) }

// Version returns the URL of a version's page.
func (v *view) Version(m module.Version) string { return v.Mod(m.Path + "@" + m.Version) }

// File returns the URL of a file's page; an empty name is the list of files.
func (v *view) File(m module.Version, name string) string {
	return v.Base + "/-/f/" + escapePath(m.Path+"@"+m.Version) + "/" + escapePath(name)
}

// Diff returns the URL of a comparison.
func (v *view) Diff(path, before, after string) string {
	return v.Base + "/-/d/" + escapePath(path+"@"+before+".."+after)
}

// escapePath escapes each element of a path.
func escapePath(p string) string {
	parts := strings.Split(p, "/")
	for i := range parts {
		parts[i] = url.PathEscape(parts[i])
	}
	return strings.Join(parts, "/")
}

// sizeText writes a number of bytes, of any type.
func sizeText(size any) string {
	var n int64
	switch size := size.(type) {
	case int64:
		n = size
	case uint64:
		n = int64(min(size, 1<<62))
	}
	if n < 1000 {
		return fmt.Sprintf("%d B", n)
	}
	f := float64(n)
	for _, unit := range []string{"kB", "MB", "GB"} {
		if f /= 1000; f < 999.5 {
			return fmt.Sprintf("%.3g %s", f, unit)
		}
	}
	return fmt.Sprintf("%.3g TB", f/1000)
}

// number writes a count with a thin space between thousands.
func number(n any) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// count writes how many things there are.
func count(n any, thing string) string {
	s := number(n)
	if s != "1" {
		thing += "s"
		thing = strings.Replace(thing, "hashs", "hashes", 1)
		thing = strings.Replace(thing, "trys", "tries", 1)
	}
	return s + " " + thing
}

// ago says how long ago, or in how long, something is.
func ago(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	d := time.Since(t)
	if d < 0 {
		return "in " + span(-d)
	}
	if d < 5*time.Second {
		return "just now"
	}
	return span(d) + " ago"
}

func span(d time.Duration) string {
	for _, unit := range []struct {
		name string
		d    time.Duration
	}{{"year", 365 * 24 * time.Hour}, {"month", 30 * 24 * time.Hour}, {"day", 24 * time.Hour}, {"hour", time.Hour}, {"minute", time.Minute}} {
		if n := int(d / unit.d); n == 1 {
			return "1 " + unit.name
		} else if n > 1 {
			return fmt.Sprintf("%d %ss", n, unit.name)
		}
	}
	return fmt.Sprintf("%d seconds", max(int(d/time.Second), 1))
}

// durationText writes a duration for a table.
func durationText(d time.Duration) string {
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// shortVersion shortens a pseudo-version for a list.
func shortVersion(v string) string {
	if module.IsPseudoVersion(v) && len(v) > 40 {
		return v[:40] + "…"
	}
	return v
}
