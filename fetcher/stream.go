package fetcher

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// A stream is a connection to a git-upload-pack on a server: what is written is
// its input, what is read its output.
type stream interface {
	io.ReadWriteCloser
	// said returns what the server wrote for people to read, once there is
	// no more to read from the stream.
	said() string
}

// A streamSession asks a repository through streams: one for the list of
// references, and one for each pack, which begins with that list again.
type streamSession struct {
	repo *repo
	dial func(context.Context) (stream, error)
}

// AdvertisedReferences is never called without a context.
func (s *streamSession) AdvertisedReferences() (*packp.AdvRefs, error) {
	return s.AdvertisedReferencesContext(context.Background())
}

// AdvertisedReferencesContext asks for the list of references.
func (s *streamSession) AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error) {
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	adv, err := s.advertised(ctx, conn)
	if err != nil {
		return nil, err
	}
	// Nothing is wanted; whether the server hears it makes no difference.
	_, _ = conn.Write(pktline.FlushPkt)
	if adv.IsEmpty() {
		return nil, transport.ErrEmptyRemoteRepository
	}
	return adv, nil
}

// open connects, until ctx is done.
func (s *streamSession) open(ctx context.Context) (stream, error) {
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	bound := &boundStream{stream: conn}
	bound.stop = context.AfterFunc(ctx, func() { conn.Close() })
	return bound, nil
}

// A boundStream is closed when its context is done, or before.
type boundStream struct {
	stream
	stop func() bool
}

func (s *boundStream) Close() error {
	s.stop()
	return s.stream.Close()
}

// advertised reads the list of references.
func (s *streamSession) advertised(ctx context.Context, conn stream) (*packp.AdvRefs, error) {
	adv := packp.NewAdvRefs()
	err := adv.Decode(bounded(withoutTalk(ctx), conn, s.repo.f.opts.MaxRefsBytes, s.repo.name))
	switch {
	case err == nil:
		transport.FilterUnsupportedCapabilities(adv.Capabilities)
		return adv, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.Is(err, packp.ErrEmptyAdvRefs):
		return nil, transport.ErrEmptyRemoteRepository
	case errors.As(err, new(broken)):
		return nil, err
	}
	return nil, s.explain(conn, err)
}

// explain adds what the server said to an error. That may be that there is no
// such repository; but servers say so too where a key does not suffice, and the
// go command does not take it for a definite answer either.
func (s *streamSession) explain(conn stream, err error) error {
	words := printable(conn.said())
	var line *pktline.ErrorLine
	var unexpected *packp.ErrUnexpectedData
	switch {
	case errors.As(err, &line):
		words = printable(line.Text)
		fallthrough
	case words != "" && (errors.Is(err, packp.ErrEmptyInput) || errors.Is(err, io.ErrUnexpectedEOF)):
		return serverSays{words}
	case errors.As(err, &unexpected):
		err = errors.New("the server does not speak git's protocol")
	case errors.Is(err, packp.ErrEmptyInput):
		err = errors.New("the server ended the connection")
	}
	if words != "" {
		return fmt.Errorf("%w; the server says: %s", err, words)
	}
	return err
}

// A serverSays is a server's refusal in its own words.
type serverSays struct{ words string }

func (e serverSays) Error() string { return "the server says: " + e.words }

// printable is the beginning of what a server said, in one line.
func printable(text string) string {
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), func(r rune) bool { return r == ' ' || isControl(r) }), " ")
	if len(text) > maxWords {
		text = strings.ToValidUTF8(text[:maxWords], "") + "…"
	}
	return text
}

// maxWords is how much of what a server says is shown, in bytes.
const maxWords = 300

// UploadPack asks for a pack.
func (s *streamSession) UploadPack(ctx context.Context, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if req.IsEmpty() {
		return nil, transport.ErrEmptyUploadPackRequest
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	conn, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	resp, err := s.uploadPack(ctx, conn, req)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return resp, nil
}

func (s *streamSession) uploadPack(ctx context.Context, conn stream, req *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if _, err := s.advertised(ctx, conn); err != nil {
		return nil, err
	}
	var order bytes.Buffer
	err := req.UploadRequest.Encode(&order)
	if err == nil {
		err = req.UploadHaves.Encode(&order, false)
	}
	if err == nil {
		err = pktline.NewEncoder(&order).EncodeString("done\n")
	}
	if err == nil {
		_, err = conn.Write(order.Bytes())
	}
	if err != nil {
		return nil, err
	}
	resp := packp.NewUploadPackResponse(req)
	body := struct {
		io.Reader
		io.Closer
	}{bounded(ctx, conn, s.repo.f.opts.MaxFetchBytes, s.repo.name), conn}
	if err := resp.Decode(body); err != nil {
		return nil, s.explain(conn, err)
	}
	return resp, nil
}

// Close has nothing to do: each stream is closed by who opened it.
func (s *streamSession) Close() error { return nil }

// gitPort is that of git's own protocol, without any login.
const gitPort = "9418"

// dialGit connects to a server of git's own protocol.
func (r *repo) dialGit(ctx context.Context, to *remote) (stream, error) {
	conn, err := r.dialer()(ctx, "tcp", to.address(gitPort))
	if err != nil {
		return nil, err
	}
	host := to.host
	if to.port != "" {
		host = to.address(gitPort)
	}
	// In one write, so that it is one line to the server.
	var line bytes.Buffer
	err = pktline.NewEncoder(&line).Encode([]byte(transport.UploadPackServiceName + " " + to.path + "\x00host=" + host + "\x00"))
	if err == nil {
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		_, err = conn.Write(line.Bytes())
		stop()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return gitStream{conn}, nil
}

// gitStream is a connection to a server of git's own protocol, which has no
// place for what it says to people but the protocol itself.
type gitStream struct{ net.Conn }

func (gitStream) said() string { return "" }

// tail keeps the beginning of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[:min(len(p), max(0, 4096-len(t.text)))]...)
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
