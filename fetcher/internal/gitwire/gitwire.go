// Package gitwire speaks git's protocol to a git-upload-pack: it lists references and
// fetches packs, in the versions 0, 1 and 2, over smart HTTP and over streams such as
// ssh.
//
// A [Client] talks to one repository through a [Link]. It requests version 2, in which
// the server can leave out unwanted references, and accepts the version that the server
// uses. Its requests announce the same capabilities as git's, because some servers
// refuse others.
//
// A response is never kept in memory as a whole: references are passed to a function one
// by one, and a pack is streamed. [Limits] bound the bytes and the waiting.
// Errors never repeat what a server sent, except for a [RemoteError], which the caller
// must make printable.
package gitwire

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"time"
)

// ID is the SHA-1 hash of an object.
type ID [20]byte

// ParseID parses 40 hexadecimal digits in lower or upper case.
func ParseID(text string) (id ID, ok bool) {
	if len(text) != hexLength {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(text))
	return id, err == nil
}

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// UploadPack is the command that serves a repository.
const UploadPack = "git-upload-pack"

const (
	hexLength       = 40
	hexLengthSHA256 = 64
)

// Agent is the User-Agent of requests. Some servers answer only clients that look like
// git.
const Agent = "git/2.45.2"

// Errors for servers that are not git servers of SHA-1 repositories.
var (
	ErrSHA256 = errors.New("the repository has SHA-256 hashes")
	ErrDumb   = errors.New("the repository is served by git's dumb http protocol")
	ErrNotGit = errors.New("the server does not speak git's protocol")
	// ErrSilent means that a server sent nothing for as long as [Limits] allow.
	ErrSilent = errors.New("the server stays silent")
)

// RemoteError is an error message of the server.
type RemoteError struct{ Words string }

func (e *RemoteError) Error() string { return "the server says: " + e.Words }

// Limits bound what one request may cost. Zero means none.
type Limits struct {
	ListBytes int64 // of a list of references as it is sent, whether or not they are wanted
	PackBytes int64 // of a pack
	// FirstByte is how long a server may take until its first answer, which includes
	// the connection.
	FirstByte time.Duration
	// Idle is how long it may then send nothing. Of a pack it sends 1 KiB a second at
	// least, on average over this time, and begins within ten times this time.
	Idle time.Duration
}

// maxTalk bounds what a server says before a pack, in bytes.
const maxTalk = 16 << 20

// TooLarge means that an answer exceeds a limit.
type TooLarge struct{ What string }

func (e *TooLarge) Error() string { return e.What + " is too large" }

// Ref is one reference that a server lists.
type Ref struct {
	Name   []byte // valid until the function that got it returns
	Target ID     // the object that it names, such as an annotated tag
	Peeled ID     // the object that Target leads to if it is a tag; otherwise Target
}

// A Link reaches the git-upload-pack of one repository.
type Link interface {
	// Open begins a conversation by asking for the server's advertisement.
	Open(ctx context.Context) (Conversation, error)
	// Resume begins a conversation after an earlier advertisement. The server may
	// send it again.
	Resume(ctx context.Context) (Conversation, error)
}

// A Conversation is one exchange with a server. It ends with its context.
type Conversation interface {
	// Advertisement returns the server's first message; nil if it sends none.
	Advertisement() io.Reader
	// Ask sends a request, made for a version of the protocol, and returns the answer,
	// or nil if that follows the advertisement.
	Ask(version int, request []byte) (io.Reader, error)
	// Explain adds the server's messages outside the protocol to an error.
	Explain(err error) error
	Close() error
}

// Client asks one repository. It is safe for concurrent use if its Link is.
type Client struct {
	Link   Link
	Limits Limits
}

// Server has the capabilities of a repository's server, as it announced them when it
// listed its references.
type Server struct {
	Version  int  // of the protocol
	Empty    bool // there are no references at all
	Deepens  bool // it can leave history out
	Cut      bool // it has no more than a part of the history itself, and says so
	client   *Client
	caps     capabilities
	features string // of version 2's fetch
}

// List calls visit for each reference of the repository with one of the prefixes, in
// the order in which the server sends them, until visit returns an error. Other
// references that a server sends are read and dropped.
func (c *Client) List(ctx context.Context, prefixes []string, visit func(Ref) error) (*Server, error) {
	ctx, idle := newIdleTimer(ctx, c.Limits)
	defer idle.end()
	conv, err := c.Link.Open(ctx)
	if err != nil {
		return nil, idle.explain(err)
	}
	defer conv.Close()
	s, err := c.list(conv, idle, prefixes, visit)
	if err != nil {
		return nil, idle.explain(conv.Explain(err))
	}
	return s, nil
}

func (c *Client) list(conv Conversation, idle *idleTimer, prefixes []string, visit func(Ref) error) (*Server, error) {
	s := &Server{client: c}
	wanted := wantedBy(prefixes, visit)
	in := newPackets(idle.reader(conv.Advertisement(), c.Limits.ListBytes, listWords))
	if err := s.advertisement(in, wanted); err != nil || s.Version < 2 {
		return s, err
	}
	if err := in.ask(conv, idle, 2, s.lsRefs(prefixes)); err != nil {
		return nil, err
	}
	in.limit(c.Limits.ListBytes, listWords)
	return s, s.listed(in, wanted)
}

// What is too large, in an error.
const (
	listWords = "the list of references"
	talkWords = "what the server says before its pack"
)

// wantedBy returns a function that calls visit only for references with a prefix.
func wantedBy(prefixes []string, visit func(Ref) error) func(Ref) error {
	return func(r Ref) error {
		for _, p := range prefixes {
			if len(r.Name) >= len(p) && string(r.Name[:len(p)]) == p {
				return visit(r)
			}
		}
		return nil
	}
}

// Request says what to fetch.
type Request struct {
	Wants    []ID
	Haves    []ID // need not be sent again
	Shallows []ID // are held without their history
	Depth    int  // of the history that is sent; zero is all of it
	Thin     bool // the pack may contain deltas to the haves
}

// Pack is a pack that is being received. It must be closed.
type Pack struct {
	io.Reader
	// Cut means that the server left history out although the request did not ask for
	// that: its own repository is shallow.
	Cut   bool
	close func()
}

// Close ends the conversation, whether or not the pack was read to its end.
func (p *Pack) Close() error {
	p.close()
	return nil
}

// Fetch asks for a pack. The context must live until the pack is closed.
func (s *Server) Fetch(ctx context.Context, req *Request) (*Pack, error) {
	limits := s.client.Limits
	// A server may take long to prepare a pack before its first byte.
	limits.FirstByte = max(limits.FirstByte, limits.Idle)
	ctx, idle := newIdleTimer(ctx, limits)
	conv, err := s.client.Link.Resume(ctx)
	if err != nil {
		idle.end()
		return nil, idle.explain(err)
	}
	end := func() {
		conv.Close()
		idle.end()
	}
	prepared := idle.prepare()
	pack, err := s.fetch(conv, idle, req)
	prepared()
	if err != nil {
		err = idle.explain(conv.Explain(err))
		end()
		return nil, err
	}
	pack.close = end
	inner := idle.paced(pack.Reader)
	pack.Reader = readFunc(func(b []byte) (int, error) {
		n, err := inner.Read(b)
		if err != nil && err != io.EOF {
			err = idle.explain(err)
		}
		return n, err
	})
	return pack, nil
}

func (s *Server) fetch(conv Conversation, idle *idleTimer, req *Request) (*Pack, error) {
	limits := s.client.Limits
	in := newPackets(idle.reader(nil, limits.ListBytes, listWords))
	if hello := conv.Advertisement(); hello != nil {
		again := &Server{client: s.client}
		in = newPackets(idle.reader(hello, limits.ListBytes, listWords))
		if err := again.advertisement(in, func(Ref) error { return nil }); err != nil {
			return nil, err
		}
		s = again
	}
	if err := in.ask(conv, idle, s.Version, s.request(req)); err != nil {
		return nil, err
	}
	in.limit(maxTalk, talkWords)
	pack := &Pack{Reader: in.r}
	var err error
	if s.Version == 2 {
		pack.Cut, err = sections(in, req)
	} else {
		err = acknowledged(in, req)
	}
	if err != nil {
		return nil, err
	}
	in.limit(limits.PackBytes, "the pack")
	if s.Version == 2 || s.caps.has("side-band-64k") || s.caps.has("side-band") {
		pack.Reader = &band{in: in}
	}
	return pack, nil
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
