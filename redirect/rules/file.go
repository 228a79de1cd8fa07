package rules

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/pattern"
	"github.com/athens-go/athens/internal/reload"
)

// Options configures a [File]. With the zero Options what the environment calls
// private is private beside what the file says, and the ages of versions are kept in memory alone.
type Options struct {
	// Policy

	// Private has GOPRIVATE's syntax. Its patterns stand before the first line, see
	// [Rules.WithPrivate]. If it is empty, GOPRIVATE and GONOPROXY of the environment are
	// used; "none" means no path.
	Private string

	// Sources

	// Store is asked whether a version was held before a cooldown came in: then it
	// stays available. If it is nil, nothing was.
	Store athens.Storage
	// Info asks the source of a version for its .info, because a cooldown-by commit line
	// needs the commit times of listed versions. If it is nil, the age of a version that is
	// not held counts from the first sight, unless it is a pseudo-version.
	Info func(ctx context.Context, m module.Version) (*athens.Info, error)
	// OpenUpstream returns the server that an upstream line names, such as
	// redirect.New does. Its URL may have credentials. A server that several lines name,
	// or that is still named after a change, is asked for once. One that is named no
	// more is told by CloseIdleConnections if it has that method. If it is nil, a
	// line that names a server is an error.
	OpenUpstream func(url string) (athens.Upstream, error)

	// Freshness

	// CheckInterval is how often Run looks whether the file has changed. Zero means
	// one second; a negative value means never.
	CheckInterval time.Duration

	// Memory

	// SeenDir is a folder in which is kept since when versions are known, so that a
	// restart makes none young again. Several processes may share it. Empty means that
	// this is kept in memory alone.
	SeenDir string
	// MaxSeen bounds for how many versions that is kept, with 20 bytes on disk and about
	// 40 in memory for each. Those that were not requested for the longest time are
	// forgotten, and young when they are seen again unless they are held. Zero means
	// 1,000,000.
	MaxSeen int

	// Reports

	// Logger receives a line when rules come into force, and an error when a changed
	// file has none that can. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// File is a rules file in force: it is read again when it changes, and it knows how old
// versions are. All methods may be called at once. Make one with [Open].
type File struct {
	name    string
	text    *reload.File
	opts    Options
	private string // patterns of opts.Private
	memory  *memory
	now     atomic.Pointer[inForce]
}

// inForce is a version of the rules.
type inForce struct {
	*Rules
	stamped string                                 // what the databases of advisories were like
	since   map[string]time.Time                   // when each cooldown came in, by its text
	open    map[string]athens.Upstream             // servers of upstream lines, by URL
	old     *cache.Cache[module.Version, struct{}] // versions that no cooldown holds back any more
}

// oldBytes bounds the memory for versions that are old enough.
const oldBytes = 8 << 20

// Open reads a rules file, see [Parse]. Its rules are in force until [File.Reload], or
// [File.Run], has read better ones. A nil opts means the zero [Options].
func Open(name string, opts *Options) (*File, error) {
	f := &File{name: name, text: reload.New(name)}
	if opts != nil {
		f.opts = *opts
	}
	private, err := pattern.ParsePrivate(f.opts.Private)
	if err != nil {
		return nil, fmt.Errorf("rules: Private: %w", err)
	}
	f.private = private.String()
	if f.opts.MaxSeen < 0 {
		return nil, errors.New("rules: MaxSeen is negative")
	}
	if f.opts.MaxSeen == 0 {
		f.opts.MaxSeen = 1_000_000
	}
	if f.opts.CheckInterval == 0 {
		f.opts.CheckInterval = time.Second
	}
	if f.opts.Logger == nil {
		f.opts.Logger = slog.New(slog.DiscardHandler)
	}
	f.memory = openMemory(f.opts.SeenDir, f.opts.MaxSeen, f.opts.Logger)
	if err := f.text.Read(f.load); err != nil {
		return nil, errors.Join(err, f.memory.close())
	}
	return f, nil
}

// Close writes down what is known and lets go of the folder and of idle connections.
func (f *File) Close() error {
	closeUnused(f.now.Load().open, nil)
	return f.memory.close()
}

// Reload reads the file again. If its text is wrong, or it is gone or has become empty,
// the rules that are in force stay, the error names the line, and the log has it.
func (f *File) Reload() error {
	err := f.text.Read(f.load)
	if err != nil {
		f.opts.Logger.Error("the rules file has an error; the previous rules stay in force", "file", f.name, "error", err)
		return err
	}
	f.opts.Logger.Info("rules reloaded", "file", f.name, "rules", len(f.now.Load().lines))
	return nil
}

// load puts what the file says into force.
func (f *File) load(empty bool) error {
	rules, err := Read(f.name)
	if err != nil {
		return err
	}
	before := f.now.Load()
	if before != nil && len(before.lines) > 0 && empty {
		return fmt.Errorf("%s: the file has become empty; to have no rules, put a comment in it", f.name)
	}
	if rules, err = rules.WithPrivate(f.private); err != nil {
		return err
	}
	next := &inForce{Rules: rules, old: cache.New(oldBytes, func(m module.Version, _ struct{}) int64 { return int64(len(m.Path) + len(m.Version)) })}
	var known map[string]athens.Upstream
	if before != nil {
		known = before.open
	}
	if next.open, err = rules.open(known, f.opts.OpenUpstream); err != nil {
		return err
	}
	next.since, next.stamped = f.arrivals(rules, time.Now()), rules.stamp()
	f.now.Store(next)
	closeUnused(known, next.open)
	return nil
}

// Run reads the file again whenever it has changed, until ctx is done. A file that
// changes is left alone until it has been the same for one CheckInterval, so that
// nothing half-written comes into force. The databases of advisories lines are looked at
// in the same way.
func (f *File) Run(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { f.watchAdvisories(ctx, f.opts.CheckInterval) })
	f.text.Run(ctx, f.opts.CheckInterval, func() { _ = f.Reload() }) // the log has what is wrong
}

// Rules returns the rules that are in force.
func (f *File) Rules() *Rules { return f.now.Load().Rules }

// PrivatePatterns returns what [Rules.PrivatePatterns] returns for the rules in force.
func (f *File) PrivatePatterns() string { return f.Rules().PrivatePatterns() }

// place returns the name of a file in the folder of what is known.
func (f *File) place(name string) string { return filepath.Join(f.opts.SeenDir, name) }
