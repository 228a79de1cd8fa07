package server

import (
	"fmt"
	"log/slog"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher"
	"github.com/athens-go/athens/fetcher/gocmd"
	"github.com/athens-go/athens/fill"
	"github.com/athens-go/athens/redirect"
	"github.com/athens-go/athens/storage"
)

// Parts are what every server is put together from.
type Parts struct {
	Flags   *Flags
	Store   *storage.Store
	Fills   *fill.Queue
	Log     *slog.Logger
	Private string // patterns of what is private, by all rules
	// Options are ready for a server without an upstream.
	Options athens.Options
	// CertFile and KeyFile are for TLS; empty means plain HTTP.
	CertFile, KeyFile string

	upstream string // for the log, without credentials
}

// Open opens what the flags name: a store on disk, version control, a fill
// queue, rules, a checksum database.
func Open(flags *Flags, log *slog.Logger) (*Parts, error) {
	dir, err := flags.StoreDir()
	if err != nil {
		return nil, err
	}
	store, err := storage.NewDisk(dir, nil)
	if err != nil {
		return nil, err
	}
	rules, err := flags.Policy()
	if err != nil {
		return nil, err
	}
	vcs, err := versionControl(flags, rules, log)
	if err != nil {
		return nil, err
	}
	fills, err := fill.New(&fill.Options{Log: log})
	if err != nil {
		return nil, err
	}
	sums, err := flags.Checksums()
	if err != nil {
		return nil, err
	}
	return &Parts{
		Flags: flags, Store: store, Fills: fills, Log: log, Private: rules.PrivatePatterns(),
		Options: athens.Options{Fetcher: vcs, Fills: fills, Route: rules.Route, Checksums: sums, Logger: log},
	}, nil
}

// versionControl returns the source of what does not come from an upstream.
func versionControl(flags *Flags, rules *redirect.Rules, log *slog.Logger) (athens.Fetcher, error) {
	dir, err := flags.GitDir()
	if err != nil {
		return nil, err
	}
	git, err := fetcher.New(dir, &fetcher.Options{
		Logger:  log,
		Private: func(path string) bool { return rules.Route(module.Version{Path: path}).Private },
	})
	if err != nil || flags.VCS == "git" {
		return git, err
	}
	if flags.VCS != "go" {
		return nil, fmt.Errorf("-vcs is git or go, not %q", flags.VCS)
	}
	private := rules.PrivatePatterns()
	if private == "" {
		private = "none"
	}
	others, err := gocmd.New(&gocmd.Options{Private: private, Logger: log})
	if err != nil {
		return nil, err
	}
	return fetcher.First(git, others), nil
}

// UseUpstream sets the upstream that -upstream, whose value is given, names.
func (p *Parts) UseUpstream(value string) error {
	url, err := p.Flags.Upstream(value)
	if err != nil {
		return err
	}
	if url == Off {
		if p.Flags.upstreamFrom != "" {
			p.Log.Warn("no upstream: GOPROXY names no server other than this one; all modules come from version control (-upstream)")
		}
		return nil
	}
	up, err := redirect.New(url, nil)
	if err != nil {
		return err
	}
	p.Options.Upstream, p.upstream = up, up.String()
	return nil
}
