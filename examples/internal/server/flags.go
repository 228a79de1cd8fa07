// Package server is what the example servers have in common beside Athens: their
// flags, where their defaults come from, and how they start and stop.
package server

import (
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/redirect/rules"
	"github.com/athens-go/athens/serve"
)

// Flags are those that all the servers have.
type Flags struct {
	*flag.FlagSet
	Name    string // of the server
	Addr    string // to listen on
	Dir     string // the store
	Private string // patterns; ask PrivatePatterns for the ones in force

	privateUpstream bool   // what these match comes from the upstream like the rest
	covered         string // the patterns, then

	Rules  string // rules file
	Tokens string // token file
	// Jobs lets in clients with secrets that no token file has; nil means that it has all.
	Jobs    Jobs
	Hooks   string // file with the secrets of push events
	Offline bool   // ask nobody
	// CertFile and KeyFile are for TLS; empty means plain HTTP.
	CertFile, KeyFile string
	VCS               string // how version control is reached
	SumDB             string // checksum database that verifies
	Ops               string // second address, for operators
	// CacheBytes bounds what is kept of repositories; 0 means the fetcher's default.
	CacheBytes int64

	logFormat string
	logLevel  slog.Level

	web     string // which pages are shown
	clients clientFlags

	published       string // patterns of modules that are uploaded
	serve, serveURL string // patterns of modules that go-import pages say are here, and where that is

	prefix     string      // a path below which everything is served
	socketMode fs.FileMode // of -addr unix:PATH

	follow followFlags // all empty: not a registry that follows

	version bool // print it and do nothing else
	ttl     ttls
	pseudo  int

	upstreamFrom string // where the upstream was taken from, for the log
}

// ttls are how long answers hold, each as its flag says: zero means not at all.
type ttls struct{ list, stale, patience, missing, down time.Duration }

// NewFlags defines the flags of a server whose default address is addr.
func NewFlags(name, addr string) *Flags {
	f := &Flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), Name: name}
	f.StringVar(&f.Addr, "addr", addr, "serve on this `address`, host:port or unix:PATH for a socket file; port 0 means any free one")
	f.StringVar(&f.prefix, "prefix", "", "serve everything below this `path`, such as /go; empty means at the root")
	f.Func("socket-mode", "the `mode` of the socket file of -addr unix:PATH, in octal; empty means 0660", f.setSocketMode)
	f.StringVar(&f.Dir, "dir", "", "keep modules in this `folder`, a GOPROXY tree; empty means one in the user's cache folder")
	f.StringVar(&f.Private, "private", "", "fetch modules that match these `patterns` (as in GOPRIVATE) from version control only,\nand allow private addresses for these only; empty means none, not given means GOPRIVATE and GONOPROXY of the environment and of 'go env -w'")
	f.StringVar(&f.Rules, "rules", "", "read rules from this `file`, and again whenever it changes and on SIGHUP; empty means no rules")
	f.StringVar(&f.Tokens, "tokens", "", "admit only clients with a token from this `file`, which is read again whenever it changes and on SIGHUP;\nempty means that everybody is admitted")
	f.clientFlags()
	f.StringVar(&f.Hooks, "hooks", "", "accept push events from GitHub, GitLab and Gitea at /refresh if they are signed with one of the secrets in\nthis `file`, one per line; empty means none")
	f.StringVar(&f.CertFile, "tls-cert", "", "serve TLS with the certificate in this `file`, which is read again when it changes; empty means plain HTTP")
	f.StringVar(&f.KeyFile, "tls-key", "", "the `file` with the key of -tls-cert; empty means plain HTTP")
	f.BoolVar(&f.Offline, "offline", false, "serve only what is stored, and ask neither an upstream nor version control nor a checksum database;\nnot given means ask them")
	f.StringVar(&f.SumDB, "sumdb", "off", "store public modules only if this checksum `database` vouches for them: 'NAME+HASH+KEY [URL]', or the name alone\nif the go command knows its key, as in GOSUMDB; off means that no database is asked")
	f.StringVar(&f.VCS, "vcs", "git", "fetch from `git` repositories in process, or let an installed 'go' command fetch\nother version control too (hg, svn, fossil, bzr)")
	f.Int64Var(&f.CacheBytes, "max-cache-bytes", 0, "keep at most this many `bytes` of git repositories, including what running fetches receive (a fetch that\nruns alone may exceed the limit); 0 means 20 GiB")
	f.StringVar(&f.Ops, "ops", "", "serve operators on this `address`: /fills, /metrics, profiles, and /readyz with reasons; empty means nowhere")
	f.StringVar(&f.web, "web", "on", "serve web pages about the store and its activity: `on`, 'off' for a short text about the server only, or\n'all' to show private modules, too, to everybody who is admitted")
	f.StringVar(&f.logFormat, "log-format", "text", "write the log as key=value `text`, or as 'json' with one object per line")
	f.TextVar(&f.logLevel, "log-level", slog.LevelInfo, "write log lines of this `level` and above: debug, info, warn or error; with warn, no line for requests that succeed")
	f.BoolVar(&f.version, "version", false, "print the version and exit")
	f.DurationVar(&f.ttl.list, "list-ttl", time.Minute, "reuse an answer to list, @latest or a query for this `duration` before asking its source again; 0 means ask each time")
	f.DurationVar(&f.ttl.stale, "stale-ttl", 15*time.Second, "after -list-ttl, still give the old answer for this `duration` while the source is asked in the background;\n0 means that clients wait")
	f.DurationVar(&f.ttl.patience, "stale-after", time.Second, "if the source of list, @latest or a query has not answered within this `duration`, give an older answer or what\nis stored; 0 means wait until the source answers or fails")
	f.IntVar(&f.pseudo, "max-pseudo-versions", 500, "store at most this `number` of new pseudo-versions per module and hour; 0 means no limit")
	f.DurationVar(&f.ttl.missing, "missing-ttl", time.Minute, "remember \"not found\" for this `duration`; 0 means not at all")
	f.DurationVar(&f.ttl.down, "down-ttl", 5*time.Second, "after a source has failed, wait this `duration` before asking it again; 0 means ask it each time")
	return f
}

// check refuses invalid values. A program that defines some of the flags only, such as verify,
// has no -log-format.
func (f *Flags) check() error {
	if f.Lookup("log-format") != nil && f.logFormat != "text" && f.logFormat != "json" {
		return fmt.Errorf("-log-format must be text or json, not %q", f.logFormat)
	}
	if err := f.follow.check(f); err != nil {
		return err
	}
	if f.web != "on" && f.web != "off" && f.web != "all" && f.Lookup("web") != nil {
		return fmt.Errorf("-web must be on, off or all, not %q", f.web)
	}
	if f.clients.logins < 0 {
		return fmt.Errorf("-limit-logins is %d; it must not be negative", f.clients.logins)
	}
	for name, d := range map[string]time.Duration{"list-ttl": f.ttl.list, "stale-ttl": f.ttl.stale, "stale-after": f.ttl.patience, "missing-ttl": f.ttl.missing, "down-ttl": f.ttl.down} {
		if d < 0 {
			return fmt.Errorf("-%s is %v; it must not be negative", name, d)
		}
	}
	return nil
}

// freshness sets how long answers hold, and how many versions come new in a time.
func (f *Flags) freshness(o *athens.Options) {
	if o.MaxPseudoVersions = f.pseudo; f.pseudo == 0 {
		o.MaxPseudoVersions = -1 // zero would mean the default
	}
	for to, d := range map[*time.Duration]time.Duration{
		&o.ListTTL: f.ttl.list, &o.StaleTTL: f.ttl.stale, &o.StaleAfter: f.ttl.patience, &o.MissingTTL: f.ttl.missing, &o.DownTTL: f.ttl.down,
	} {
		if *to = d; d == 0 {
			*to = -1 // zero would mean the default
		}
	}
}

// NewLogger returns a logger on w as the flags want it, and a function that writes the
// lines that wait.
func (f *Flags) NewLogger(w io.Writer) (log *slog.Logger, flush func()) {
	return serve.NewLogger(w, &serve.LogOptions{JSON: f.logFormat == "json", Level: f.logLevel})
}

// Given reports whether a flag was set on the command line.
func (f *Flags) Given(name string) (given bool) {
	f.Visit(func(fl *flag.Flag) { given = given || fl.Name == name })
	return given
}

// StoreDir returns the store's folder.
func (f *Flags) StoreDir() (string, error) {
	if f.Dir != "" {
		return filepath.Abs(f.Dir)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no default for -dir: %w", err)
	}
	return filepath.Join(cache, "athens", f.Name), nil
}

// GitDir returns the folder for repositories. It is inside the store's, under a
// name that no module path can have.
func (f *Flags) GitDir() (string, error) {
	dir, err := f.StoreDir()
	return filepath.Join(dir, ".git-cache"), err
}

// Policy returns the rules of -rules and -private.
func (f *Flags) Policy() (*rules.Rules, error) {
	var policy *rules.Rules
	if f.Rules != "" {
		var err error
		if policy, err = rules.Read(f.Rules); err != nil {
			return nil, err
		}
	}
	if !f.Given("private") {
		env, err := rules.Environment()
		if err != nil {
			return nil, fmt.Errorf("no default for -private: %w", err)
		}
		f.Private = env
	}
	if f.privateUpstream && f.Private != "" {
		f.covered, f.Private = f.Private, ""
	}
	return policy.WithPrivate(f.Private)
}

// Checksums returns the checksum database of -sumdb, nil if it is off.
func (f *Flags) Checksums(log *slog.Logger) (athens.Checksums, error) {
	if f.SumDB == "off" || f.SumDB == "" {
		return nil, nil
	}
	database, err := withKey(f.SumDB)
	if err != nil {
		return nil, err
	}
	return redirect.NewChecksums(database, &redirect.Options{Logger: log})
}
