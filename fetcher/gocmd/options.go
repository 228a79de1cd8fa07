package gocmd

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/athens-go/athens"
)

// Options configures a [Fetcher]. A nil *Options means all defaults; so does
// each field's zero value.
type Options struct {
	// Go is the go command, a file or a name to be looked up in PATH. If it
	// is empty, it is "go". [New] fails if there is none.
	Go string

	// Dir is where temporary folders are made. If it is empty, the system's
	// folder for temporary files is used. Folders that a killed process left
	// there are removed when a Fetcher starts, after a day.
	Dir string

	// Env has variables, as NAME=VALUE, that are added to this process's
	// environment or replace what is there: GOINSECURE, GOAUTH, NETRC, HOME,
	// PATH, HTTPS_PROXY, GIT_SSH_COMMAND, … What this package sets itself,
	// such as GOPROXY and GOFLAGS, wins. If it is empty, the environment is
	// this process's.
	Env []string

	// GOVCS says which version control systems may be used for which paths;
	// see "go help vcs". If it is empty, the environment's GOVCS counts, and
	// after that the go command's own rule, which is that of an empty GOVCS:
	// git and hg for public paths, all for private ones. "*:all" allows all
	// everywhere: the clients of svn, bzr and fossil were made for servers
	// that one trusts, so use that where only trusted paths come by.
	GOVCS string

	// Private is the module paths that GOVCS calls private. It has no other
	// meaning here, and counts only outside of a handler, which says by
	// [athens.WithPrivate] whether the path it asks for is private. Nil means
	// GOPRIVATE and GONOPROXY of the environment (see [athens.EnvPatterns]); an
	// empty Patterns means that no path is private.
	Private *athens.Patterns

	// Concurrency bounds how many go commands run at once; zero means 4.
	Concurrency int

	// Timeout bounds one go command with all that it starts; zero means 15
	// minutes. After it, all its processes are killed.
	Timeout time.Duration

	// KeepTTL is for how long a fetched version's folder, with its clone of
	// the repository, is kept for the zip, and for other questions about the
	// same version; zero means one minute.
	KeepTTL time.Duration

	// MaxBytes bounds what one go command may put on disk: the clone, the
	// module's files and its zip together. It is looked at several times a
	// second. Zero means 8 GiB.
	MaxBytes int64

	// MaxKeptBytes bounds all folders together that are kept and not in use:
	// above it, all but the latest go, the oldest first. Zero means 8 GiB.
	MaxKeptBytes int64

	// MaxOutputBytes bounds what one go command may print; zero means 16 MiB.
	MaxOutputBytes int64

	// Logger gets one record for each go command. If it is nil, there is no
	// log.
	Logger *slog.Logger
}

// withDefaults returns a copy of o in which every zero has its meaning.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Go == "" {
		c.Go = "go"
	}
	if c.Dir == "" {
		c.Dir = os.TempDir()
	}
	if c.Private == nil {
		var err error
		if c.Private, err = athens.EnvPatterns(); err != nil {
			return c, fmt.Errorf("gocmd: no default for Private: %w", err)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := positive("Concurrency", &c.Concurrency, 4); err != nil {
		return c, err
	}
	for _, d := range []struct {
		name  string
		field *time.Duration
		value time.Duration
	}{
		{"Timeout", &c.Timeout, 15 * time.Minute},
		{"KeepTTL", &c.KeepTTL, time.Minute},
	} {
		if err := positive(d.name, d.field, d.value); err != nil {
			return c, err
		}
	}
	for _, d := range []struct {
		name  string
		field *int64
		value int64
	}{
		{"MaxBytes", &c.MaxBytes, 8 << 30},
		{"MaxKeptBytes", &c.MaxKeptBytes, 8 << 30},
		{"MaxOutputBytes", &c.MaxOutputBytes, 16 << 20},
	} {
		if err := positive(d.name, d.field, d.value); err != nil {
			return c, err
		}
	}
	return c, nil
}

// positive gives a field that is zero its default, and refuses a negative one.
func positive[T int | int64 | time.Duration](name string, field *T, value T) error {
	if *field < 0 {
		return fmt.Errorf("gocmd: Options.%s is negative: %v", name, *field)
	}
	if *field == 0 {
		*field = value
	}
	return nil
}
