// Package redirect connects a proxy to its upstream. It has two independent parts:
//
//   - [Upstream] is an [athens.Upstream] for a registry or any other GOPROXY server. It
//     reads lists, versions and files from there, with retries. It also returns the URLs
//     to which clients can be redirected, and tracks whether the server is up.
//   - [Checksums] is a client of a checksum database.
//
// Package redirect/rules reads a file that says which modules are private and which
// versions are blocked.
//
// # What an answer means
//
// Each status becomes one of the root package's errors, and the words of the
// server become its text:
//
//	404 410          athens.MissingError      the definite answer
//	410 of another Athens server that has removed the version
//	                 athens.BlockedError      with Removed and the reason
//	403 451          athens.BlockedError      with the reason that the server gave
//	401 407          athens.UnavailableError  the credentials are wrong; not tried again
//	408 425 429 5xx  athens.UnavailableError  tried again, as Retry-After allows
//	loop, bad content of another Athens server (502), 508
//	                 athens.InvalidError
//	any other        athens.UnavailableError  not tried again
//
// A connection that fails, breaks or stays silent is an athens.UnavailableError too, and so
// is a 200 with unexpected content: a page for people, a list in which most lines are no
// versions, an .info that names no version, a .mod without a module line. An answer that is
// too large, is of another version, or has a Content-Encoding that was not requested is an
// athens.InvalidError.
//
// # Credentials
//
// A user name and password in the URL, or in a netrc file for its host, are sent to that
// host only, as Basic authentication. No error, log or Location contains them, and they are
// removed from quoted answers of the server.
package redirect

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/internal/protocol"
)

// Options are the settings of [New] and [NewChecksums]. A nil *Options is the
// zero Options.
type Options struct {
	// Connections

	// Transport makes the requests. Nil means a clone of
	// [http.DefaultTransport] (proxies from the environment, HTTP/2) with at
	// most MaxConns connections, each to be made within 10 seconds.
	Transport http.RoundTripper
	// Netrc names the file with logins, which has credentials for an https URL
	// that holds none itself; one that can't be read is an error. If it is empty, the
	// file is the value of NETRC, otherwise ~/.netrc, and one that can't be read is
	// reported to Logger; "none" is no file. It is read once.
	Netrc string
	// UserAgent names this server. Empty means "athens".
	UserAgent string
	// Header returns what a request for a question in ctx also carries, such as a
	// traceparent; also where the server redirects to. What this package sends itself
	// has precedence. Nil means nothing.
	Header func(ctx context.Context) http.Header

	// Redirects

	// NoRedirect says that clients cannot reach the upstream, so they are never
	// redirected there.
	NoRedirect bool
	// CheckAfter is how long the last answer of an upstream is a sign of life.
	// When it is older, a client is sent there only after a connection could
	// be opened; nothing is asked on it. There is no such check through an
	// HTTP proxy, nor through a Transport that is no *http.Transport, unless
	// Dial is set. Zero means 5 seconds.
	CheckAfter time.Duration
	// CheckTimeout is how long that check may take. Zero means 1 second.
	CheckTimeout time.Duration
	// Dial opens the connection for that check. Nil means that of Transport.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)

	// Freshness

	// DownTTL is how long an upstream counts as down after a connection failed or
	// stayed silent, and how long it is not asked after an answer of 401, 407 or
	// 429. A longer Retry-After is obeyed, up to an hour. Zero means 5 seconds.
	DownTTL time.Duration

	// Retries

	// Tries is how often a question is asked before its failure is reported,
	// the first time included. Zero means 3.
	Tries int
	// RetryDelay is the pause before the second try; it doubles with each, and
	// up to half of it is left out by chance. Zero means 250 milliseconds.
	RetryDelay time.Duration
	// MaxRetryDelay is the longest pause between two tries. If the server's
	// Retry-After asks for a longer one, the failure is reported at once. Zero
	// means 2 seconds.
	MaxRetryDelay time.Duration

	// Timeouts

	// QueueTimeout is how long a question waits for one of the MaxConns slots before
	// it fails as unavailable. Zero means 10 seconds.
	QueueTimeout time.Duration
	// AnswerTimeout is how long one try waits until an answer begins; an empty
	// registry clones a repository in that time. If the server has answered nothing
	// in that time, other questions fail at once, except for one in DownTTL. Zero
	// means one minute.
	AnswerTimeout time.Duration
	// IdleTimeout is how long an answer may pause. Zero means 30 seconds.
	IdleTimeout time.Duration
	// Timeout bounds a question with all its tries, except for a zip. Zero means
	// 2 minutes.
	Timeout time.Duration
	// ZipTimeout bounds the same for a zip. Zero means 1 hour.
	ZipTimeout time.Duration

	// Limits

	// MaxConns bounds how many requests to the server run at once, and the
	// connections to one host when Transport is nil. Zero means 128.
	MaxConns int
	// MaxInfoBytes is the size of the largest .info and @latest accepted. Zero means 64 KiB.
	MaxInfoBytes int64
	// MaxModBytes is the same for a .mod. Zero means 32 MiB, as in
	// [athens.Options].
	MaxModBytes int64
	// MaxZipBytes is the same for a .zip. Zero means 500 MiB, the limit of the go
	// command.
	MaxZipBytes int64
	// MaxListBytes is the same for @v/list. Zero means 16 MiB.
	MaxListBytes int64
	// MaxVersions is the number of versions accepted in a list. Zero means
	// 100,000.
	MaxVersions int
	// MaxSumDBAnswerBytes is the size of the largest answer of a checksum database
	// accepted. Zero means 4 MiB.
	MaxSumDBAnswerBytes int64
	// CacheBytes bounds the memory in which [Checksums] keeps checked records
	// and tiles. Zero means 16 MiB.
	CacheBytes int64

	// Reports

	// Alarm is told when a checksum database contradicts itself, with the
	// signed proof of it. Nil means that only the failing lookup reports it.
	Alarm func(proof string)
	// Logger receives a warning when the netrc file of the environment can't be
	// read. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// withDefaults returns a copy of o in which no limit is zero.
func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	orElse(&d.MaxConns, 128)
	orElse(&d.QueueTimeout, 10*time.Second)
	orElse(&d.UserAgent, "athens")
	orElse(&d.Tries, 3)
	orElse(&d.RetryDelay, 250*time.Millisecond)
	orElse(&d.MaxRetryDelay, 2*time.Second)
	orElse(&d.AnswerTimeout, time.Minute)
	orElse(&d.IdleTimeout, 30*time.Second)
	orElse(&d.Timeout, 2*time.Minute)
	orElse(&d.ZipTimeout, time.Hour)
	orElse(&d.MaxInfoBytes, 64<<10)
	orElse(&d.MaxModBytes, 32<<20)
	orElse(&d.MaxZipBytes, modzip.MaxZipFile)
	orElse(&d.MaxListBytes, 16<<20)
	orElse(&d.MaxVersions, 100_000)
	orElse(&d.MaxSumDBAnswerBytes, 4<<20)
	orElse(&d.DownTTL, 5*time.Second)
	orElse(&d.CheckAfter, 5*time.Second)
	orElse(&d.CheckTimeout, time.Second)
	orElse(&d.CacheBytes, 16<<20)
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
	return d
}

// orElse sets *v to def if it is zero.
func orElse[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Upstream is a registry, or any other server of the GOPROXY protocol. Make
// one with [New].
type Upstream struct {
	opts   Options
	client *client
	calls  *sharing
	absent absences

	retracted *cache.Cache[module.Version, modcheck.Retractions]
}

var (
	_ athens.Upstream      = (*Upstream)(nil)
	_ athens.SumDBUpstream = (*Upstream)(nil)
)

// CloseIdleConnections closes the connections that no question is using. Who is
// done with an Upstream calls it, or they stay open for a while.
func (u *Upstream) CloseIdleConnections() { u.client.closeIdle() }

// New returns the upstream at baseURL, such as "https://registry.example.com"
// or "http://user:password@10.0.0.7:3001/go". It asks nothing yet. An error
// says what is wrong with the URL or the options, without repeating
// credentials.
func New(baseURL string, o *Options) (*Upstream, error) {
	opts := o.withDefaults()
	c, err := newClient("upstream", baseURL, opts)
	if err != nil {
		return nil, err
	}
	return &Upstream{opts: opts, client: c, calls: newSharing(), absent: newAbsences(), retracted: newRetractions()}, nil
}

// String returns the upstream's URL without credentials.
func (u *Upstream) String() string { return u.client.source }

// Location returns the URL of protocolPath at the upstream. It is empty with
// [Options.NoRedirect], and with an upstream that wants credentials. While the
// upstream is known to be down, or no connection to it can be made, the error
// is an [*athens.UnavailableError].
//
// Any answer, even a 503, counts as up: a registry answers 503 for one module whose
// version control is down, and a redirected client reads the reason there.
func (u *Upstream) Location(ctx context.Context, protocolPath string) (string, error) {
	if u.opts.NoRedirect || u.client.auth != "" {
		return "", nil
	}
	if err := u.client.health.check(ctx); err != nil {
		return "", err
	}
	return u.client.url(protocolPath), nil
}

// Healthy reports whether the upstream can be reached, by what Location goes
// by. The error is an [*athens.UnavailableError].
func (u *Upstream) Healthy(ctx context.Context) error { return u.client.health.check(ctx) }

// SumDB returns the upstream's answer to sumdb/NAME/…. Where the upstream does
// not carry that database, or the database has no such record, the error is an
// [*athens.MissingError]. The answer is not checked: its signature is for the
// go command to verify.
func (u *Upstream) SumDB(ctx context.Context, protocolPath string) ([]byte, error) {
	q := question{path: protocolPath, limit: u.opts.MaxSumDBAnswerBytes}
	r, err := protocol.Parse(protocolPath)
	if err == nil && r.Kind != protocol.SumDB {
		err = protocol.ErrUnknown
	}
	if err != nil {
		return nil, q.invalid(err)
	}
	q.module = protocolPath
	body, err := u.get(ctx, q)
	return bytes.Clone(body), err
}
