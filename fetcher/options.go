package fetcher

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/gitconfig"
	"github.com/athens-go/athens/internal/homefile"
	"github.com/athens-go/athens/internal/netrc"
)

// Options configures a [Fetcher]. A nil *Options means all defaults; so does
// each field's zero value.
type Options struct {
	// Transport sends all HTTP requests. If it is nil, a clone of
	// [http.DefaultTransport] does, which takes HTTP_PROXY, HTTPS_PROXY,
	// NO_PROXY and SSL_CERT_FILE from the environment, and for repositories
	// http.proxy from git's configuration.
	Transport http.RoundTripper

	// Insecure has GOINSECURE's syntax: the module paths that may be looked
	// up and fetched without TLS or with a certificate that is not valid. If
	// it is empty, the environment's GOINSECURE counts; "none" is no path.
	Insecure string

	// Private is the module paths that may be fetched from addresses that are
	// not public: loopback, link-local, private and reserved ones. On behalf
	// of all others such an address is never dialed, whatever a go-import
	// page, a redirect or the DNS says; the answer is an
	// [*athens.BlockedError]. Private counts only outside of a handler, which
	// says by [athens.WithPrivate] whether the path it asks for is private.
	// Nil means GOPRIVATE and GONOPROXY of the environment (see
	// [athens.EnvPatterns]); an empty Patterns means that no path is private.
	//
	// What an HTTP proxy is asked for is not judged, nor is what a Transport
	// dials that is not an [*http.Transport].
	Private *athens.Patterns

	// GOVCS says which version control systems may be used for which paths; see
	// "go help vcs". If it is empty, the environment's GOVCS counts; "none" is no
	// rule. Its "private" paths are the private ones, see Private. Where it does not
	// allow git, the answer is an [*athens.BlockedError].
	GOVCS string

	// Netrc names the file with logins. If it is empty, NETRC's value is it,
	// else ~/.netrc; "none" is no file. It is read anew for each session, so
	// that a login that was replaced is found. A file that this field names must
	// be readable, as must those of GitConfig and SSHDir; the default ones are
	// optional, and one that can't be read is a warning in the log.
	Netrc string

	// Credentials returns the headers, such as Authorization, that a request
	// to u needs; see [BasicAuth]. Nil headers say that it knows none, and
	// the netrc file is asked. It is called often and at the same time for
	// different URLs, once more if a server refuses what it returned (see
	// [Refused]), and never for a URL without TLS unless Insecure covers
	// the path. If it is nil, only the netrc file is asked.
	Credentials func(ctx context.Context, u *url.URL) (http.Header, error)

	// GitConfig names the file with git's configuration, of which insteadOf,
	// extraHeader and http.proxy count. If it is empty, the files and variables of the
	// environment are read that git itself reads; "none" is no configuration.
	// It is read anew for each session.
	GitConfig string

	// SSHDir is the folder with config, known_hosts and keys for ssh. If it is
	// empty, it is ~/.ssh; "none" switches ssh off. Keys are also those of the
	// agent that SSH_AUTH_SOCK names. A host that known_hosts does not know is
	// not connected to, unless config sets StrictHostKeyChecking accept-new.
	SSHDir string

	// RefsTTL is for how long a repository's list of branches and tags is
	// believed; zero means one minute.
	RefsTTL time.Duration

	// MissTTL is for how long "there is no such module, version or branch" is
	// believed, so that a version that was just pushed is soon found; zero
	// means ten seconds.
	MissTTL time.Duration

	// DownTTL is for how long a page or a repository that failed, or that asks for a
	// login, is not asked again; zero means ten seconds. One that says Retry-After is
	// left alone for that long, at most an hour.
	DownTTL time.Duration

	// DiscoveryTTL is for how long a path's repository is believed; zero
	// means ten minutes.
	DiscoveryTTL time.Duration

	// PageTimeout bounds a request for a go-import page or a list of
	// references; zero means one minute.
	PageTimeout time.Duration

	// FetchTimeout bounds one fetch of a repository's content, and the making
	// of one zip; zero means 15 minutes.
	FetchTimeout time.Duration

	// IdleTimeout bounds how long a server may send nothing in the middle of an
	// answer. Of a pack it must send 1 KiB a second at least, on average over this
	// time, and begin to do so within ten times this time. Zero means one minute.
	IdleTimeout time.Duration

	// MaxPageBytes bounds a go-import page; zero means 1 MiB.
	MaxPageBytes int64

	// MaxRefsBytes bounds what is kept of a repository's list of references: the
	// names of branches and tags, and 24 bytes for each, or 48 for an annotated tag.
	// What else there is, such as pull requests, is dropped while the list is read,
	// of which 16 times as many bytes may be sent. Zero means 64 MiB.
	MaxRefsBytes int64

	// RefsCacheBytes bounds the lists of all repositories that are kept for
	// RefsTTL; zero means 128 MiB. A list that is larger is asked for anew for each
	// question.
	RefsCacheBytes int64

	// MaxModBytes bounds a go.mod, which is held in memory; zero means 32 MiB,
	// as in [athens.Options]. A zip's is bounded by 16 MiB in any case.
	MaxModBytes int64

	// MaxFetchBytes bounds the pack that one fetch of a repository's content
	// receives, and apart from that what is written to disk beside it, since
	// large files are kept there without being compared to each other. Zero
	// means 4 GiB, of each.
	MaxFetchBytes int64

	// MaxCacheBytes bounds all bare repositories together: above it, those
	// that were not used for the longest time are removed, but none that is in
	// use. It also bounds what two or more fetches together write before it is
	// known to be good, which counts as it arrives: one that others leave no room
	// for is an [*athens.UnavailableError]. A fetch that is the only one to write
	// is bounded by MaxFetchBytes alone, so that any limit leaves room for one at
	// a time. What a fetch that fails has written is removed. Zero means 20 GiB.
	MaxCacheBytes int64

	// MaxWorkBytes bounds the memory for what is made of repositories' content,
	// by all fetches and archives that run at once: about 64 bytes for each
	// object of a pack, 800 bytes for each file of a zip, and what is made of
	// deltas. A fifth of it is for small ones, so that they never wait for large
	// ones. One fetch can have two thirds of it; one that needs more is refused as
	// invalid. Large ones that don't fit beside each other run one after the other,
	// and one that waited for two minutes is an [*athens.UnavailableError]. Zero
	// means 160 MiB.
	MaxWorkBytes int64

	// MaxWorkSteps bounds the work of making one fetch or archive, in steps: a
	// step is about the work of copying and hashing one byte. A repository
	// has 256 steps more for each byte that was received. Zero means 4 Gi
	// steps, which are less than a minute of one processor.
	MaxWorkSteps int64

	// MaxRedirects bounds how often one request is redirected; zero means 10.
	MaxRedirects int

	// Concurrency bounds how many requests to one host run at once; zero
	// means 16. To all hosts together four times as many run. Who waits longer
	// than 30 seconds for a place gets an [*athens.UnavailableError].
	Concurrency int

	// Logger gets one record for each fetch from a repository. If it is nil,
	// there is no log.
	Logger *slog.Logger
}

// withDefaults returns a copy of o in which every zero has its meaning.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.Transport == nil {
		transport, ok := http.DefaultTransport.(*http.Transport)
		if !ok {
			transport = &http.Transport{}
		}
		transport = transport.Clone()
		transport.Proxy = proxyOf
		transport.DialContext = nil // each route has its own
		c.Transport = transport
	}
	if err := c.checkFiles(); err != nil {
		return c, err
	}
	c.readEnvironment()
	if c.Private == nil {
		var err error
		if c.Private, err = athens.EnvPatterns(); err != nil {
			return c, fmt.Errorf("fetcher: no default for Private: %w", err)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, c.numbers()
}

// numbers gives each number its default.
func (o *Options) numbers() error {
	return errors.Join(
		orDefault(&o.RefsTTL, time.Minute),
		orDefault(&o.MissTTL, 10*time.Second),
		orDefault(&o.DownTTL, 10*time.Second),
		orDefault(&o.DiscoveryTTL, 10*time.Minute),
		orDefault(&o.PageTimeout, time.Minute),
		orDefault(&o.FetchTimeout, 15*time.Minute),
		orDefault(&o.IdleTimeout, time.Minute),
		orDefault(&o.MaxPageBytes, 1<<20),
		orDefault(&o.MaxRefsBytes, 64<<20),
		orDefault(&o.RefsCacheBytes, 128<<20),
		orDefault(&o.MaxModBytes, 32<<20),
		orDefault(&o.MaxFetchBytes, 4<<30),
		orDefault(&o.MaxCacheBytes, 20<<30),
		orDefault(&o.MaxWorkBytes, 160<<20),
		orDefault(&o.MaxWorkSteps, 4<<30),
		orDefault(&o.MaxRedirects, 10),
		orDefault(&o.Concurrency, 16),
	)
}

// checkFiles refuses what an option names and what is not there. Files that are only
// looked for by default are optional.
func (o *Options) checkFiles() error {
	if o.Netrc != "" && o.Netrc != none {
		if _, err := homefile.Read(o.Netrc, netrc.MaxSize); err != nil {
			return fmt.Errorf("fetcher: the Netrc option: %w", err)
		}
	}
	if o.GitConfig != "" && o.GitConfig != none {
		if _, err := homefile.Read(o.GitConfig, gitconfig.MaxSize); err != nil {
			return fmt.Errorf("fetcher: the GitConfig option: %w", err)
		}
	}
	if o.SSHDir != "" && o.SSHDir != none {
		if _, err := os.ReadDir(o.SSHDir); err != nil {
			return fmt.Errorf("fetcher: the SSHDir option: %w", err)
		}
	}
	return nil
}

// readEnvironment finds what the fields mean that are about this machine.
func (o *Options) readEnvironment() {
	if o.Insecure == "" {
		o.Insecure = os.Getenv("GOINSECURE")
	}
	if o.Insecure == none {
		o.Insecure = ""
	}
	if o.GOVCS == "" {
		o.GOVCS = os.Getenv("GOVCS")
	}
	if o.GOVCS == none {
		o.GOVCS = ""
	}
	if o.Netrc == "" {
		o.Netrc = netrc.DefaultPath()
	}
	if o.Netrc == none {
		o.Netrc = ""
	}
	switch o.SSHDir {
	case none:
		o.SSHDir = ""
	case "":
		if home, err := os.UserHomeDir(); err == nil {
			o.SSHDir = filepath.Join(home, ".ssh")
		}
	}
}

const none = "none"

func orDefault[T int | int64 | time.Duration](field *T, value T) error {
	if *field < 0 {
		return fmt.Errorf("fetcher: an option is negative: %v", *field)
	}
	if *field == 0 {
		*field = value
	}
	return nil
}
