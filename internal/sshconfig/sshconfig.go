// Package sshconfig reads ssh configuration files, as ssh_config(5) describes them, to
// find out how to reach a host.
//
// It supports Host, Include, and Match with the criteria all, host, originalhost,
// user and localuser. Other criteria never match, because they depend on commands or on
// an existing connection; no command is ever run.
package sshconfig

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/athens-go/athens/internal/homefile"
)

// Bounds of a configuration. A longer file is treated as absent; more files are an
// error.
const (
	MaxSize  = 1 << 20 // bytes of a file
	MaxFiles = 100     // read in all
	MaxDepth = 16      // of files that include others
)

// A Host has the settings for one host. An empty field was not set.
type Host struct {
	HostName       string // to connect to
	Port           string
	User           string
	IdentityFiles  []string // files of keys; their ~ is expanded
	IdentitiesOnly bool     // of an agent's keys, only those of IdentityFiles
	IdentityAgent  string   // socket of the agent, "none", or SSH_AUTH_SOCK
	HostKeyAlias   string   // the name that known_hosts has
	UserKnownHosts []string // files; their ~ is expanded
	GlobalKnown    []string // files
	Certificates   []string // files of the user's certificates; their ~ is expanded
	StrictHostKeys string   // StrictHostKeyChecking, in small letters
	HashKnownHosts bool     // names that are added to known_hosts are hashed
	ProxyJump      string   // hosts to go through, unless that is "none"
	ProxyCommand   string   // a command to connect by, unless that is "none"
}

// A File is one file of a configuration. What it includes by a relative name
// is in Dir.
type File struct{ Name, Dir string }

// A Question says for which host to read the configuration.
type Question struct {
	Host      string // as it was given
	User      string // as it was given; may be empty
	LocalUser string // name of the local user
	Home      string // folder that ~ stands for
	// Warn receives files that exist but can't be read.
	Warn homefile.Warn
}

// Lookup reads the settings for a host from files. The first file that sets something
// takes precedence. Missing and unreadable files count as empty.
func Lookup(q Question, files ...File) (*Host, error) {
	q.Host = strings.ToLower(q.Host)
	r := reader{q: q, seen: make(map[string]bool)}
	r.host.User = q.User
	r.seen["user"] = q.User != ""
	for _, f := range files {
		if err := r.file(f, true, 0); err != nil {
			return nil, err
		}
	}
	h := &r.host
	h.HostName = r.expand(h.HostName, q.Host)
	if h.HostName == "" {
		h.HostName = q.Host
	}
	for _, list := range [][]string{h.IdentityFiles, h.Certificates, h.UserKnownHosts, h.GlobalKnown} {
		for i, name := range list {
			list[i] = r.path(name)
		}
	}
	h.IdentityAgent = r.path(h.IdentityAgent)
	return h, nil
}

type reader struct {
	q     Question
	host  Host
	seen  map[string]bool // what is set
	files int
}

// file reads one file. active says whether it was included where the host
// matches.
func (r *reader) file(f File, active bool, depth int) error {
	if r.files++; r.files > MaxFiles || depth > MaxDepth {
		return fmt.Errorf("%s: more than %d files, or more than %d that include each other", f.Name, MaxFiles, MaxDepth)
	}
	data := homefile.Optional(f.Name, MaxSize, r.q.Warn)
	here := active
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		key, args, ok := split(line)
		if !ok {
			return fmt.Errorf("%s: line %d: unterminated quote", f.Name, number)
		}
		switch {
		case key == "":
		case key == "host":
			here = active && matchAny(args, r.q.Host)
		case key == "match":
			here = active && r.match(args)
		case key == "include":
			for _, pattern := range args {
				if err := r.include(f, pattern, here, depth); err != nil {
					return err
				}
			}
		case here && len(args) > 0:
			r.set(key, args)
		}
	}
	return nil
}

func (r *reader) include(f File, pattern string, active bool, depth int) error {
	pattern = r.path(pattern)
	if !filepath.IsAbs(pattern) {
		pattern = filepath.Join(f.Dir, pattern)
	}
	names, err := filepath.Glob(pattern)
	if err != nil {
		return fmt.Errorf("%s: Include %s: %w", f.Name, pattern, err)
	}
	for _, name := range names {
		if err := r.file(File{name, f.Dir}, active, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// set applies a setting unless it was set before. Key files accumulate.
func (r *reader) set(key string, args []string) {
	switch key {
	case "identityfile":
		r.host.IdentityFiles = append(r.host.IdentityFiles, args[0])
		return
	case "certificatefile":
		r.host.Certificates = append(r.host.Certificates, args[0])
		return
	}
	name := key
	if key == "proxyjump" || key == "proxycommand" {
		name = "proxy" // the first of both counts
	}
	if r.seen[name] {
		return
	}
	r.seen[name] = true
	h := &r.host
	switch key {
	case "hostname":
		h.HostName = args[0]
	case "port":
		h.Port = args[0]
	case "user":
		h.User = args[0]
	case "identitiesonly":
		h.IdentitiesOnly = isYes(args[0])
	case "identityagent":
		h.IdentityAgent = args[0]
	case "hostkeyalias":
		h.HostKeyAlias = args[0]
	case "userknownhostsfile":
		h.UserKnownHosts = args
	case "globalknownhostsfile":
		h.GlobalKnown = args
	case "stricthostkeychecking":
		h.StrictHostKeys = strings.ToLower(args[0])
	case "hashknownhosts":
		h.HashKnownHosts = isYes(args[0])
	case "proxyjump":
		h.ProxyJump = unlessNone(args[0])
	case "proxycommand":
		h.ProxyCommand = unlessNone(strings.Join(args, " "))
	}
}

func isYes(text string) bool {
	return strings.EqualFold(text, "yes") || strings.EqualFold(text, "true")
}

func unlessNone(text string) string {
	if strings.EqualFold(text, "none") {
		return ""
	}
	return text
}

// match decides a Match line.
func (r *reader) match(args []string) bool {
	if len(args) == 0 {
		return false
	}
	for len(args) > 0 {
		criterion, negated := strings.CutPrefix(strings.ToLower(args[0]), "!")
		args = args[1:]
		if criterion == "all" {
			if negated {
				return false
			}
			continue
		}
		if len(args) == 0 {
			return false
		}
		var against string
		switch criterion {
		case "host":
			if against = r.expand(r.host.HostName, r.q.Host); against == "" {
				against = r.q.Host
			}
		case "originalhost":
			against = r.q.Host
		case "user":
			if against = r.host.User; against == "" {
				against = r.q.LocalUser
			}
		case "localuser":
			against = r.q.LocalUser
		default:
			return false
		}
		if matchAny(strings.Split(args[0], ","), against) == negated {
			return false
		}
		args = args[1:]
	}
	return true
}

// expand replaces the tokens of a value.
func (r *reader) expand(value, host string) string {
	user := r.host.User
	if user == "" {
		user = r.q.LocalUser
	}
	return strings.NewReplacer("%%", "%", "%h", host, "%n", r.q.Host, "%r", user, "%u", r.q.LocalUser, "%d", r.q.Home).Replace(value)
}

// path replaces the tokens and the ~ of a file's name.
func (r *reader) path(name string) string {
	if rest, ok := strings.CutPrefix(name, "~/"); ok && r.q.Home != "" {
		name = filepath.Join(r.q.Home, rest)
	}
	return r.expand(name, r.host.HostName)
}

// split takes a line apart into its keyword in lower case and its arguments,
// which may stand in double quotes. It is not ok if unterminated quote.
func split(line string) (key string, args []string, ok bool) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return "", nil, true
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return strings.ToLower(line), nil, true
	}
	key, line = strings.ToLower(line[:end]), strings.TrimLeft(line[end:], " \t")
	line = strings.TrimLeft(strings.TrimPrefix(line, "="), " \t")
	for line != "" && line[0] != '#' {
		var arg string
		if line[0] == '"' {
			if arg, line, ok = strings.Cut(line[1:], `"`); !ok {
				return "", nil, false
			}
		} else if end := strings.IndexAny(line, " \t"); end >= 0 {
			arg, line = line[:end], line[end:]
		} else {
			arg, line = line, ""
		}
		args = append(args, arg)
		line = strings.TrimLeft(line, " \t")
	}
	return key, args, true
}

// matchAny reports whether name matches one of the patterns, and none of those
// that begin with "!".
func matchAny(patterns []string, name string) bool {
	matched := false
	for _, p := range patterns {
		p, negated := strings.CutPrefix(p, "!")
		if !Wildcard(p, name) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// Wildcard matches "*" with any text and "?" with any character. It goes back
// to the last "*" only, so that it takes at most len(pattern)*len(name) steps.
func Wildcard(pattern, name string) bool {
	p, n := 0, 0
	star, mark := -1, 0
	for n < len(name) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, n
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == name[n]):
			p++
			n++
		case star >= 0:
			mark++
			p, n = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
