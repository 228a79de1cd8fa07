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

	"github.com/athens-go/athens/internal/gitconfig"
	"github.com/athens-go/athens/internal/homefile"
	"github.com/athens-go/athens/internal/netrc"
)

// Options configures a [Fetcher]. A nil *Options means all defaults; so does
// each field's zero value. [New] refuses negative values.
type Options struct {
	// Sources: how repositories and go-import pages are reached.

	// Transport sends all HTTP requests. If it is nil, a clone of
	// [http.DefaultTransport] is used. It takes HTTP_PROXY, HTTPS_PROXY, NO_PROXY
	// and SSL_CERT_FILE from the environment, and for repositories http.proxy from
	// git's configuration.
	Transport http.RoundTripper

	// Netrc names the file with logins. If it is empty, the value of NETRC is used,
	// otherwise ~/.netrc; "none" means no file. It is read again for each session, so
	// a replaced login takes effect. A file that this field names must be readable,
	// and so must those of GitConfig and SSHDir. The default files are optional: one
	// that can't be read causes a warning in the log.
	Netrc string

	// Credentials returns the headers, such as Authorization, that a request
	// to u needs; see [BasicAuth]. Nil headers mean that it knows none, and
	// the netrc file is used. It is called often, concurrently for
	// different URLs, and once more if a server refuses what it returned (see
	// [Refused]). It is never called for a URL without TLS unless Insecure covers
	// the path. If it is nil, only the netrc file is used.
	Credentials func(ctx context.Context, u *url.URL) (http.Header, error)

	// GitConfig names the file with git's configuration, of which insteadOf,
	// extraHeader and http.proxy are used. If it is empty, the files and environment
	// variables are read that git itself reads; "none" means no configuration.
	// It is read again for each session.
	GitConfig string

	// SSHDir is the folder with config, known_hosts and keys for ssh. If it is
	// empty, ~/.ssh is used; "none" turns ssh off. Keys of the agent that
	// SSH_AUTH_SOCK names are used too. A host that is not in known_hosts is
	// refused, unless config sets StrictHostKeyChecking accept-new.
	SSHDir string

	// Policy: what may be fetched, and from where.

	// Insecure has GOINSECURE's syntax: the module paths that may be looked
	// up and fetched without TLS or with an invalid certificate. If it is empty,
	// the environment's GOINSECURE is used; "none" means no path.
	Insecure string

	// Private has GOPRIVATE's syntax: the module paths that may be fetched from
	// addresses that are not public: loopback, link-local, private and reserved ones. For all other
	// paths such an address is never dialed, whatever a go-import page, a redirect
	// or the DNS says; the answer is an [*athens.BlockedError]. Private is used only
	// outside a handler: a handler says with [athens.RequestInfo] whether the path it
	// asks for is private. If it is empty, GOPRIVATE and GONOPROXY of the
	// environment, or of "go env -w", are used; "none" means no path.
	//
	// Requests through an HTTP proxy are not checked, nor is what a Transport
	// dials that is not an [*http.Transport].
	Private string

	// GOVCS says which version control systems may be used for which paths; see
	// "go help vcs". If it is empty, the environment's GOVCS is used; "none" means no
	// rule. Its "private" paths are those of Private. Where it does not
	// allow git, the answer is an [*athens.BlockedError].
	GOVCS string

	// Freshness: how long answers are reused.

	// RefsTTL is how long a repository's list of branches and tags is
	// reused; zero means one minute.
	RefsTTL time.Duration

	// MissTTL is how long "there is no such module, version or branch" is
	// reused, so that a version that was just pushed is soon found; zero
	// means ten seconds.
	MissTTL time.Duration

	// DownTTL is how long a page, a repository or a host that failed, or that asks for
	// a login, is not asked again; zero means ten seconds. A server that sends
	// Retry-After is left alone for that long, at most an hour.
	DownTTL time.Duration

	// DiscoveryTTL is how long a path's repository location is reused; zero
	// means ten minutes.
	DiscoveryTTL time.Duration

	// Timeouts: how long a server may take.

	// PageTimeout bounds a request for a go-import page or a list of
	// references; zero means one minute.
	PageTimeout time.Duration

	// FetchTimeout bounds one fetch of a repository's content, and the making
	// of one zip; zero means 15 minutes.
	FetchTimeout time.Duration

	// IdleTimeout bounds how long a server may send nothing in the middle of an
	// answer. A pack must arrive with at least 1 KiB a second, on average over this
	// time, and its first byte within ten times this time. Zero means one minute.
	IdleTimeout time.Duration

	// Limits: what one answer, and all of them together, may cost.

	// Concurrency bounds how many requests to one host run at once; zero
	// means 16. Four times as many run to all hosts together. A request that waits
	// more than 30 seconds for a slot fails with an [*athens.UnavailableError].
	Concurrency int

	// MaxRedirects bounds how often one request is redirected; zero means 10.
	MaxRedirects int

	// MaxPageBytes bounds a go-import page; zero means 1 MiB.
	MaxPageBytes int64

	// MaxRefsBytes bounds what is kept of a repository's list of references: the
	// names of branches and tags, and 24 bytes for each, or 48 for an annotated tag.
	// Other references, such as pull requests, are dropped while the list is read; a
	// server may send 16 times as many bytes in all. The lists that questions use at the
	// same time, and the versions listed from them, have room for this many bytes each,
	// the lists for half of RefsCacheBytes if that is more. A question that waits longer
	// than 90 seconds for room gets an [*athens.UnavailableError]. Zero means 16 MiB,
	// some 350,000 tags.
	MaxRefsBytes int64

	// RefsCacheBytes bounds the lists of all repositories that are kept for
	// RefsTTL; zero means 64 MiB. A list that is larger is fetched again for each
	// question.
	RefsCacheBytes int64

	// MaxModBytes bounds a go.mod, which is held in memory. All files above 256 KiB
	// together have room for as many bytes; a question that waits longer than 90
	// seconds for room gets an [*athens.UnavailableError]. Zero means 32 MiB, as in
	// [athens.Options]. A go.mod in a zip is bounded by 16 MiB in any case.
	MaxModBytes int64

	// MaxFetchBytes bounds the pack that one fetch of a repository's content
	// receives, and separately what is written to disk beside it, since
	// large files are stored there without delta compression. Zero
	// means 4 GiB, of each.
	MaxFetchBytes int64

	// MaxCacheBytes bounds all bare repositories together: above it, the least
	// recently used ones that are not in use are removed. It also bounds what two or
	// more fetches together write before it is verified; this is counted as it
	// arrives, and a fetch for which the others leave no room fails with an
	// [*athens.UnavailableError]. A fetch that is the only one to write
	// is bounded by MaxFetchBytes alone, so any limit leaves room for one at
	// a time. What a failed fetch has written is removed. Zero means 20 GiB.
	MaxCacheBytes int64

	// MaxWorkBytes bounds the memory for processing repositories' content,
	// over all fetches and archives that run at once: about 64 bytes for each
	// object of a pack, 800 bytes for each file of a zip, and what deltas expand to.
	// A fifth of it is reserved for small ones, so that they never wait for large
	// ones. One fetch can have two thirds of it; one that needs more is refused as
	// invalid. Large ones that don't fit beside each other run one after the other,
	// and one that has waited for two minutes fails with an
	// [*athens.UnavailableError]. Zero means 160 MiB.
	MaxWorkBytes int64

	// MaxWorkSteps bounds the work of processing one fetch or archive, in steps: a
	// step is about the work of copying and hashing one byte. A repository
	// gets 256 more steps for each byte received. Zero means 4 Gi
	// steps, which take less than a minute on one processor.
	MaxWorkSteps int64

	// Reports

	// Logger receives one record for each fetch from a repository. If it is nil,
	// nothing is logged.
	Logger *slog.Logger
}

// withDefaults returns a copy of o with each zero field set to its default.
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
		transport.DialContext = nil // each client sets its own
		c.Transport = transport
	}
	if err := c.checkFiles(); err != nil {
		return c, err
	}
	c.readEnvironment()
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, c.numbers()
}

// numbers sets the numeric fields that are zero to their defaults.
func (o *Options) numbers() error {
	return errors.Join(
		orDefault("RefsTTL", &o.RefsTTL, time.Minute),
		orDefault("MissTTL", &o.MissTTL, 10*time.Second),
		orDefault("DownTTL", &o.DownTTL, 10*time.Second),
		orDefault("DiscoveryTTL", &o.DiscoveryTTL, 10*time.Minute),
		orDefault("PageTimeout", &o.PageTimeout, time.Minute),
		orDefault("FetchTimeout", &o.FetchTimeout, 15*time.Minute),
		orDefault("IdleTimeout", &o.IdleTimeout, time.Minute),
		orDefault("MaxPageBytes", &o.MaxPageBytes, 1<<20),
		orDefault("MaxRefsBytes", &o.MaxRefsBytes, 16<<20),
		orDefault("RefsCacheBytes", &o.RefsCacheBytes, 64<<20),
		orDefault("MaxModBytes", &o.MaxModBytes, 32<<20),
		orDefault("MaxFetchBytes", &o.MaxFetchBytes, 4<<30),
		orDefault("MaxCacheBytes", &o.MaxCacheBytes, 20<<30),
		orDefault("MaxWorkBytes", &o.MaxWorkBytes, 160<<20),
		orDefault("MaxWorkSteps", &o.MaxWorkSteps, 4<<30),
		orDefault("MaxRedirects", &o.MaxRedirects, 10),
		orDefault("Concurrency", &o.Concurrency, 16),
	)
}

// checkFiles refuses options that name a file or folder that can't be read. The
// default files are optional.
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

// readEnvironment fills in the fields whose defaults depend on this machine.
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

// orDefault gives a field that is zero its default, and refuses a negative one.
func orDefault[T int | int64 | time.Duration](name string, field *T, value T) error {
	if *field < 0 {
		return fmt.Errorf("fetcher: Options.%s is negative: %v; zero means the default", name, *field)
	}
	if *field == 0 {
		*field = value
	}
	return nil
}
