package redirect

import (
	"bufio"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/limit"
	"github.com/athens-go/athens/internal/netguard"
	"github.com/athens-go/athens/internal/netrc"
)

// question is one GET.
type question struct {
	path    string // after the base URL, not yet escaped for a URL
	limit   int64  // of the body, in bytes
	module  string // whom errors speak of
	version string
	counted bool // a large body counts among those in memory until it is collected
}

func (q question) invalid(err error) error {
	return &athens.InvalidError{Path: q.module, Version: q.version, Err: err}
}

// client asks one server, with credentials, limits and retries.
type client struct {
	opts    Options
	source  string // the base URL without credentials and without a slash at its end
	auth    string // Authorization header, or ""
	hidden  *strings.Replacer
	away    http.RoundTripper // for redirects of a server that is on the public internet
	health  *health
	outages *outages
	slots   *limit.Semaphore
	large   *limit.Semaphore // of large answers that are being read into memory
	mods    *limit.Weighted  // large .mod files in memory, in bytes
}

// newClient reads the URL of what, a word for errors.
func newClient(what, baseURL string, opts Options) (*client, error) {
	base, err := parseBase(baseURL)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if err := checkOptions(opts); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	away := opts.Transport
	if opts.Transport == nil {
		opts.Transport = newTransport(opts.MaxConns)
		away = opts.Transport
		if t, ok := away.(*http.Transport); ok {
			t = t.Clone()
			t.DialContext = nil // which judges before it connects
			away = t
		}
	}
	c := &client{opts: opts, away: netguard.Transport(away), slots: limit.NewSemaphore(opts.MaxConns), large: limit.NewSemaphore(largeAnswers), mods: limit.NewWeighted(2 * opts.MaxModBytes), outages: newOutages(opts)}
	user, err := login(base, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	c.auth, c.hidden = credentials(user)
	base.User = nil
	c.source = strings.TrimRight(base.String(), "/")
	c.health = newHealth(c.source, base, opts)
	return c, nil
}

// parseBase reads a base URL. Its errors repeat nothing of a URL that may hold
// credentials.
func parseBase(baseURL string) (*url.URL, error) {
	show := func(format string, args ...any) error {
		if strings.Contains(baseURL, "@") {
			return errors.New("the URL is not one of http or https with a host, without query and fragment")
		}
		return fmt.Errorf("URL %q: %w", baseURL, fmt.Errorf(format, args...))
	}
	base, err := url.Parse(baseURL)
	switch {
	case err != nil:
		return nil, show("%w", errors.Unwrap(err))
	case base.Scheme != "http" && base.Scheme != "https":
		return nil, show("the scheme is not http or https")
	case base.Host == "" || base.Hostname() == "":
		return nil, show("the host is missing")
	case strings.Contains(base.Host, ","):
		return nil, show("it is a list, and one URL is wanted")
	case base.RawQuery != "" || base.ForceQuery:
		return nil, show("a query has no meaning here")
	case strings.Contains(baseURL, "#"):
		return nil, show("a fragment has no meaning here")
	}
	return base, nil
}

func checkOptions(o Options) error {
	for name, n := range map[string]int64{
		"MaxConns": int64(o.MaxConns), "QueueTimeout": int64(o.QueueTimeout), "Tries": int64(o.Tries), "RetryDelay": int64(o.RetryDelay),
		"MaxRetryDelay": int64(o.MaxRetryDelay), "AnswerTimeout": int64(o.AnswerTimeout), "IdleTimeout": int64(o.IdleTimeout),
		"Timeout": int64(o.Timeout), "ZipTimeout": int64(o.ZipTimeout), "MaxInfoBytes": o.MaxInfoBytes, "MaxModBytes": o.MaxModBytes,
		"MaxZipBytes": o.MaxZipBytes, "MaxListBytes": o.MaxListBytes, "MaxVersions": int64(o.MaxVersions),
		"MaxSumDBAnswerBytes": o.MaxSumDBAnswerBytes, "DownTTL": int64(o.DownTTL), "CheckAfter": int64(o.CheckAfter),
		"CheckTimeout": int64(o.CheckTimeout), "CacheBytes": o.CacheBytes,
	} {
		if n < 0 {
			return fmt.Errorf("Options.%s must not be negative", name)
		}
	}
	return nil
}

// login returns the credentials for base: those of the URL, otherwise those in a netrc file. As in
// the go command, a netrc file is used for https only, and its default entry is ignored, because
// it would be sent to any server. If no option names the file, one that can't be read, such as
// another user's, is a warning.
func login(base *url.URL, opts Options) (*url.Userinfo, error) {
	file := opts.Netrc
	if base.User != nil || base.Scheme != "https" || file == "none" {
		return base.User, nil
	}
	if file == "" {
		file = netrc.DefaultPath()
	}
	if file == "" {
		return nil, nil
	}
	f, err := netrc.Load(file)
	if err != nil && opts.Netrc == "" {
		opts.Logger.Warn("no login from the netrc file", "host", base.Hostname(), "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e, ok := f.Lookup(base.Hostname())
	if !ok || e.Machine == "" {
		return nil, nil
	}
	return url.UserPassword(e.Login, e.Password), nil
}

// credentials returns the Authorization header for u, and a replacer that
// makes them unreadable in what the server says.
func credentials(u *url.Userinfo) (auth string, hidden *strings.Replacer) {
	if u == nil || u.String() == "" || u.String() == ":" {
		return "", strings.NewReplacer()
	}
	password, _ := u.Password()
	coded := base64.StdEncoding.EncodeToString([]byte(u.Username() + ":" + password))
	var pairs []string
	for _, s := range []string{coded, u.String(), password, url.QueryEscape(password), u.Username(), url.QueryEscape(u.Username())} {
		// Two letters are no secret, and a text without them is no text.
		if len(s) > 2 {
			pairs = append(pairs, s, "xxxxx")
		}
	}
	return "Basic " + coded, strings.NewReplacer(pairs...)
}

// connectTimeout bounds how long the default transport waits for a connection, so that it notices
// a dead host before clients give up. pingAfter is how long an HTTP/2 connection may be silent
// before the transport sends a ping, and pingTimeout how long the answer may take.
const (
	connectTimeout = 5 * time.Second
	pingAfter      = 15 * time.Second
	pingTimeout    = 5 * time.Second
)

func newTransport(maxConns int) http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // the program has replaced it
		return http.DefaultTransport
	}
	t = t.Clone()
	t.DialContext = (&net.Dialer{Timeout: connectTimeout, KeepAlive: 30 * time.Second}).DialContext
	t.MaxConnsPerHost = maxConns
	t.MaxIdleConnsPerHost = maxConns
	t.MaxIdleConns = max(t.MaxIdleConns, maxConns)
	t.DisableCompression = true
	t.HTTP2 = &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingTimeout}
	return t
}

func (c *client) closeIdle() { (&http.Client{Transport: c.opts.Transport}).CloseIdleConnections() }

// url returns the URL of path on the server.
func (c *client) url(path string) string {
	escaped := (&url.URL{Path: path}).EscapedPath()
	return c.source + "/" + strings.ReplaceAll(escaped, "%21", "!") // as the protocol's own escapes are known
}

// get returns the body of a small answer; equal questions at once are one.
func (u *Upstream) get(ctx context.Context, q question) ([]byte, error) {
	return u.share(ctx, q, func(shared context.Context) ([]byte, error) { return u.client.get(shared, q) })
}

// share is get for an answer that ask knows how to get.
func (u *Upstream) share(ctx context.Context, q question, ask func(context.Context) ([]byte, error)) ([]byte, error) {
	body, err := u.calls.do(ctx, q.path, ask)
	if err != nil && ctx.Err() != nil && !athens.Final(err) {
		return nil, u.client.ended(ctx)
	}
	return body, err
}

// get returns the body of a small answer.
func (c *client) get(ctx context.Context, q question) ([]byte, error) {
	body := answerBuffer{ctx: ctx, large: c.large, wait: c.opts.QueueTimeout}
	defer body.release()
	err := c.ask(ctx, q, c.opts.Timeout, func(r io.Reader, length int64) (bool, error) {
		body.Reset()
		return true, copyBody(&body, r, length, q.limit)
	})
	if err == nil && q.counted {
		err = body.count(c.mods)
	}
	var busy busyError
	if errors.As(err, &busy) && ctx.Err() == nil {
		return nil, c.unavailable(busy, c.opts.QueueTimeout)
	}
	if err != nil {
		return nil, err
	}
	return body.Bytes(), nil
}

// stream writes the body of an answer to w. Once that has begun, nothing is
// tried again.
func (c *client) stream(ctx context.Context, q question, w io.Writer) error {
	return c.ask(ctx, q, c.opts.ZipTimeout, func(r io.Reader, length int64) (bool, error) {
		counted := &countWriter{w: w}
		err := copyBody(counted, r, length, q.limit)
		return counted.n == 0, err
	})
}

// countWriter counts what reached w.
type countWriter struct {
	w io.Writer
	n int64
}

func (c *countWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

// failure is a try that came to nothing.
type failure struct {
	err   error
	again bool          // whether another try may do better
	after time.Duration // no sooner than that
}

// ask puts q to the server until there is an answer that settles it, and has
// read take its body. read returns whether its error leaves room for a retry.
func (c *client) ask(ctx context.Context, q question, timeout time.Duration, read func(r io.Reader, length int64) (bool, error)) error {
	if err := cmp.Or(c.outages.known(q), c.health.admit()); err != nil {
		return err
	}
	caller := ctx
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, slowError{"no complete answer", timeout})
	defer cancel()
	pause := c.opts.RetryDelay
	for try := 1; ; try++ {
		f := c.try(ctx, q, read)
		if f == nil {
			return nil
		}
		if caller.Err() != nil {
			return c.ended(caller)
		}
		if ctx.Err() != nil {
			return c.unavailable(context.Cause(ctx), 0)
		}
		wait := max(min(pause, c.opts.MaxRetryDelay)/2+rand.N(min(pause, c.opts.MaxRetryDelay)/2+1), f.after)
		end, _ := ctx.Deadline()
		if !f.again || try >= c.opts.Tries || wait > c.opts.MaxRetryDelay || time.Until(end) < wait {
			c.outages.note(q, f.err)
			return f.err
		}
		pause = min(2*pause, c.opts.MaxRetryDelay)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if caller.Err() != nil {
				return c.ended(caller)
			}
			return f.err
		}
	}
}

// try asks once.
func (c *client) try(ctx context.Context, q question, read func(r io.Reader, length int64) (bool, error)) *failure {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := c.slots.AcquireWithin(ctx, c.opts.QueueTimeout); err != nil {
		return &failure{err: c.unavailable(err, c.opts.QueueTimeout)}
	}
	defer c.slots.Release()
	asked := time.Now()
	timer := time.AfterFunc(c.opts.AnswerTimeout, func() { cancel(slowError{"no answer", c.opts.AnswerTimeout}) })
	resp, err := c.follow(ctx, q)
	timer.Stop()
	if err != nil {
		return c.noAnswer(ctx, q, err, asked)
	}
	defer resp.Body.Close()
	body := bufio.NewReaderSize(&idleReader{r: resp.Body, idle: c.opts.IdleTimeout, cancel: cancel}, sniffed)
	if f := c.refusal(q, resp, body); f != nil {
		return f
	}
	if err := c.page(resp, body); err != nil {
		return &failure{err: c.unavailable(err, 0)}
	}
	again, err := read(body, resp.ContentLength)
	return c.badBody(ctx, q, err, again)
}

// noAnswer says why there is no response.
func (c *client) noAnswer(ctx context.Context, q question, err error, asked time.Time) *failure {
	var refused refusedError
	if errors.As(err, &refused) {
		return &failure{err: q.invalid(refused)}
	}
	err = c.plain(err)
	var slow slowError
	if errors.As(context.Cause(ctx), &slow) {
		err = slow
	} else if ctx.Err() != nil {
		return &failure{err: err} // the caller left; it knows why
	}
	c.health.silent(asked, err)
	// A server that takes no connection will not take one in a moment either.
	return &failure{err: c.unavailable(err, 0), again: !untrusted(err) && !unreachable(err)}
}

// badBody says what became of a body.
func (c *client) badBody(ctx context.Context, q question, err error, again bool) *failure {
	var (
		large *limit.Error
		write writeError
		slow  slowError
	)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &write):
		return &failure{err: write.err}
	case errors.As(err, &large):
		return &failure{err: q.invalid(fmt.Errorf("the answer has %w", large))}
	case errors.As(context.Cause(ctx), &slow):
		err = slow
	default:
		err = fmt.Errorf("the answer was cut off: %w", c.plain(err))
	}
	return &failure{err: c.unavailable(err, 0), again: again}
}

// ended says that the caller's context is done.
func (c *client) ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return c.unavailable(context.DeadlineExceeded, 0)
	}
	return fmt.Errorf("request to %s: %w", c.source, context.Cause(ctx))
}

func (c *client) unavailable(err error, after time.Duration) error {
	return &athens.UnavailableError{Source: c.source, RetryAfter: after, Err: err}
}

// plain makes the text of an error of the transport fit to be shown.
func (c *client) plain(err error) error {
	err = netguard.WithoutAddresses(err)
	if text := c.clean(err.Error()); text != err.Error() {
		return errors.New(text)
	}
	return err
}
