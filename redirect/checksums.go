package redirect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb"
	"golang.org/x/mod/sumdb/note"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/cache"
)

// Checksums is a client of a checksum database over HTTP. It checks each answer: all signed
// trees must be one tree that only grows, and it must contain the requested record. Make one with
// [NewChecksums].
//
// It keeps the latest tree in memory, so it notices a database that shows another history as long
// as the process runs.
type Checksums struct {
	name   string
	vkey   string
	opts   Options
	client *client
	calls  *sharing

	mu     sync.Mutex
	latest []byte // the newest signed tree

	cache *cache.Cache[string, []byte] // checked records and tiles, by file name
}

var (
	_ athens.Checksums = (*Checksums)(nil)
	_ athens.SumDBKey  = (*Checksums)(nil)
)

// CloseIdleConnections closes the connections that no lookup is using, like the method of
// [Upstream].
func (c *Checksums) CloseIdleConnections() { c.client.closeIdle() }

// NewChecksums returns a client of the database that spec names, as GOSUMDB does: by its verifier
// key NAME+HASH+KEY, followed by a space and its URL if that is not https://NAME. It makes no
// request yet.
func NewChecksums(spec string, o *Options) (*Checksums, error) {
	fields := strings.Fields(spec)
	if len(fields) == 0 || len(fields) > 2 {
		return nil, errors.New("checksum database: want NAME+HASH+KEY [URL]")
	}
	verifier, err := note.NewVerifier(fields[0])
	if err != nil {
		return nil, fmt.Errorf("checksum database: the key is not NAME+HASH+KEY: %w", err)
	}
	name, base := verifier.Name(), "https://"+verifier.Name()
	if at, err := url.Parse(base); err != nil || strings.HasSuffix(name, "/") || at.String() != base || at.Host == "" || at.Host+at.Path != name {
		return nil, fmt.Errorf("checksum database: its name %q is not host[/path]", name)
	}
	if len(fields) == 2 {
		base = fields[1]
	}
	opts := o.withDefaults()
	c, err := newClient("checksum database", base, opts)
	if err != nil {
		return nil, err
	}
	return &Checksums{
		name:   name,
		vkey:   fields[0],
		opts:   opts,
		client: c,
		calls:  newSharing(),
		cache:  cache.New(opts.CacheBytes, func(file string, data []byte) int64 { return int64(len(file) + cap(data)) }),
	}, nil
}

// Name returns the database's name.
func (c *Checksums) Name() string { return c.name }

// VerifierKey returns the key that the database signs with.
func (c *Checksums) VerifierKey() string { return c.vkey }

// Lookup returns the go.sum lines of a version, or of its go.mod with "/go.mod"
// at the version's end. If the database has no record of the version, the error
// is an [*athens.MissingError]; if it contradicts itself or its record does not
// speak of the version, an [*athens.InvalidError]; if it can't be asked, an
// [*athens.UnavailableError].
func (c *Checksums) Lookup(path, version string) ([]string, error) {
	q := question{limit: c.opts.MaxSumDBAnswerBytes, module: path, version: strings.TrimSuffix(version, "/go.mod")}
	l := &lookup{db: c, q: q}
	// A sumdb.Client remembers every answer and every failure for ever. So
	// each lookup has its own, and what is worth keeping is kept here.
	lines, err := sumdb.NewClient(l).Lookup(path, version)
	if err != nil {
		return nil, l.explain(err)
	}
	if len(lines) == 0 {
		return nil, q.invalid(fmt.Errorf("the record of %s has no line for it", c.name))
	}
	return lines, nil
}

// lookup is what one Lookup does outside of the database's own protocol.
type lookup struct {
	db *Checksums
	q  question

	mu     sync.Mutex
	failed []error // of ReadRemote
	fork   bool
}

var _ sumdb.ClientOps = (*lookup)(nil)

// explain gives an error of the client, which is text by now, its kind back.
func (l *lookup) explain(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fork {
		return l.q.invalid(fmt.Errorf("%s has signed two trees that contradict each other", l.db.name))
	}
	for _, cause := range l.failed {
		if strings.Contains(err.Error(), cause.Error()) {
			return cause
		}
	}
	return l.q.invalid(fmt.Errorf("%s: %s", l.db.name, l.db.client.clean(err.Error())))
}

// ReadRemote asks the database. Equal questions at once are one.
func (l *lookup) ReadRemote(path string) ([]byte, error) {
	q := l.q
	q.path = strings.TrimPrefix(path, "/")
	body, err := l.db.calls.do(context.Background(), q.path, func(ctx context.Context) ([]byte, error) {
		return l.db.client.get(ctx, q)
	})
	if err != nil && !strings.HasPrefix(q.path, "lookup/") {
		err = l.ofProof(q.path, err)
	}
	if err != nil {
		l.mu.Lock()
		l.failed = append(l.failed, err)
		l.mu.Unlock()
	}
	return body, err
}

// ofProof says what an error with a part of the proof means for the record: it
// is there, so nothing is missing or blocked.
func (l *lookup) ofProof(path string, err error) error {
	var missing *athens.MissingError
	switch {
	case errors.As(err, &missing):
		return l.db.client.unavailable(fmt.Errorf("it has no %s yet", path), 0)
	case athens.Final(err):
		return l.q.invalid(fmt.Errorf("%s: %s", path, err.Error()))
	}
	return err
}

// ReadConfig returns the verifier key or the newest tree.
func (l *lookup) ReadConfig(file string) ([]byte, error) {
	if file == "key" {
		return []byte(l.db.vkey), nil
	}
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	return l.db.latest, nil
}

// WriteConfig replaces the newest tree.
func (l *lookup) WriteConfig(_ string, old, latest []byte) error {
	l.db.mu.Lock()
	defer l.db.mu.Unlock()
	if !bytes.Equal(old, l.db.latest) {
		return sumdb.ErrWriteConflict
	}
	l.db.latest = latest
	return nil
}

// ReadCache returns a checked record or tile.
func (l *lookup) ReadCache(file string) ([]byte, error) {
	if data, ok := l.db.cache.Get(file); ok {
		return data, nil
	}
	return nil, errNotCached
}

var errNotCached = errors.New("not cached")

// WriteCache keeps a checked record or tile.
func (l *lookup) WriteCache(file string, data []byte) {
	l.db.cache.Put(file, bytes.Clone(data)) // it may be a part of something larger
}

// Log does nothing: the client has nothing to say but its errors.
func (l *lookup) Log(string) {}

// SecurityError notes that the database contradicts itself.
func (l *lookup) SecurityError(proof string) {
	l.mu.Lock()
	l.fork = true
	l.mu.Unlock()
	if l.db.opts.Alarm != nil {
		l.db.opts.Alarm(proof)
	}
}
