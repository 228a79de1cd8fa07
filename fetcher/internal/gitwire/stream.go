package gitwire

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// A Stream is a connection to a git-upload-pack: what is written is its input, what is
// read its output.
type Stream interface {
	io.ReadWriteCloser
	// Said returns what the server wrote for people to read, once there is no more to
	// read from the stream.
	Said() string
}

// Streams is a [Link] of connections, one for each conversation. Dial connects and
// asks for version 2 of the protocol.
type Streams struct {
	Dial func(context.Context) (Stream, error)
}

// Open connects. The connection is closed when ctx is done.
func (s Streams) Open(ctx context.Context) (Conversation, error) {
	conn, err := s.Dial(ctx)
	if err != nil {
		return nil, err
	}
	return &streamed{Stream: conn, ctx: ctx, stop: context.AfterFunc(ctx, func() { conn.Close() })}, nil
}

// Resume is Open: a connection begins with the advertisement.
func (s Streams) Resume(ctx context.Context) (Conversation, error) { return s.Open(ctx) }

type streamed struct {
	Stream
	ctx  context.Context
	stop func() bool
}

// Advertisement implements [Conversation].
func (s *streamed) Advertisement() io.Reader { return s.Stream }

// Ask implements [Conversation].
func (s *streamed) Ask(_ int, request []byte) (io.Reader, error) {
	_, err := s.Write(request)
	return nil, err
}

// Close ends the connection. A server that waits for a request is told that there is
// none; whether it hears that makes no difference.
func (s *streamed) Close() error {
	_, _ = s.Write([]byte("0000"))
	s.stop()
	return s.Stream.Close()
}

// Explain adds what the server said to people.
func (s *streamed) Explain(err error) error {
	var (
		words *RemoteError
		large *TooLarge
	)
	// A server that sent too much may never stop, so that its last words never come.
	if s.ctx.Err() != nil || errors.As(err, &words) || errors.As(err, &large) || errors.Is(err, ErrSHA256) {
		return err
	}
	said := s.Said()
	switch {
	case said == "":
		return err
	case errors.Is(err, io.ErrUnexpectedEOF), err == errEnded:
		return &RemoteError{said}
	}
	return fmt.Errorf("%w; %w", err, &RemoteError{said})
}

// errEnded says that a server said nothing before it ended the connection.
var errEnded = errors.New("the server ended the connection")
