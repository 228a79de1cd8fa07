package gocmd

import (
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Options configures a [Fetcher]. A nil *Options means all defaults; so does
// each field's zero value. [New] refuses negative values.
type Options struct {
	// Sources: the go command and its environment.

	// Go is the go command, a file or a name to be looked up in PATH. If it
	// is empty, "go" is used. [New] fails if there is none.
	Go string

	// Dir is where temporary folders are made. If it is empty, the system's
	// folder for temporary files is used. Folders that a killed process left
	// there are removed after a day, when a Fetcher starts.
	Dir string

	// Env has variables, as NAME=VALUE, that are added to this process's
	// environment or replace what is there: GOINSECURE, GOAUTH, NETRC, HOME,
	// PATH, HTTPS_PROXY, GIT_SSH_COMMAND, … Variables that this package sets itself,
	// such as GOPROXY and GOFLAGS, take precedence. If it is empty, the environment
	// is this process's.
	Env []string

	// Policy: what may be fetched, and with which tools.

	// GOVCS says which version control systems may be used for which paths;
	// see "go help vcs". If it is empty, the environment's GOVCS is used, and
	// otherwise the go command's default:
	// git and hg for public paths, all systems for private ones. "*:all" allows all
	// everywhere. The clients of svn, bzr and fossil were written for trusted
	// servers, so use it only where all requested paths are trusted.
	GOVCS string

	// Private has GOPRIVATE's syntax: the module paths that GOVCS calls private. It has no
	// other meaning here, and is used only outside a handler: a handler says with
	// [athens.RequestInfo] whether the path it asks for is private. If it is
	// empty, GOPRIVATE and GONOPROXY of the environment, or of "go env -w", are used;
	// "none" means no path.
	Private string

	// Freshness: how long answers are reused.

	// KeepTTL is how long a fetched version's folder, with its clone of
	// the repository, is kept for the zip and for other questions about the
	// same version; zero means one minute.
	KeepTTL time.Duration

	// Timeouts

	// Timeout bounds one go command with all that it starts; zero means 15
	// minutes. After it, all its processes are killed.
	Timeout time.Duration

	// Limits: what one command, and all of them together, may cost.

	// Concurrency bounds how many go commands run at once; zero means 4.
	Concurrency int

	// MaxBytes bounds what one go command may put on disk: the clone, the
	// module's files and its zip together. It is checked several times a
	// second. Zero means 8 GiB.
	MaxBytes int64

	// MaxKeptBytes bounds all folders together that are kept and not in use:
	// above it, all but the latest are removed, the oldest first. Zero means 8 GiB.
	MaxKeptBytes int64

	// MaxOutputBytes bounds what one go command may print; zero means 16 MiB.
	MaxOutputBytes int64

	// Reports

	// Logger receives one record for each go command. If it is nil, nothing is
	// logged.
	Logger *slog.Logger
}

// withDefaults returns a copy of o with each zero field set to its default.
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
		return fmt.Errorf("gocmd: Options.%s is negative: %v; zero means the default", name, *field)
	}
	if *field == 0 {
		*field = value
	}
	return nil
}
