package redirect

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/url"
	"time"
)

// Stream requests a path below the upstream's base URL, with a query, and returns the body of
// an answer that is a stream of server-sent events. The body may go on forever: the caller
// bounds what it reads and how long it waits, and closes it. The beginning of the answer is
// awaited for AnswerTimeout. There is one try, redirects are not followed, and an error is as
// for the questions of the protocol.
func (u *Upstream) Stream(ctx context.Context, path, query string) (io.ReadCloser, error) {
	c := u.client
	at, err := url.Parse(c.url(path))
	if err != nil {
		return nil, question{}.invalid(err)
	}
	at.RawQuery = query
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(c.opts.AnswerTimeout, func() { cancel(slowError{"no answer", c.opts.AnswerTimeout}) })
	r := c.request(ctx, at, c.auth)
	r.Header.Set("Accept", eventStream)
	asked := time.Now()
	resp, err := c.opts.Transport.RoundTrip(r)
	timer.Stop()
	if err != nil {
		failed := c.noAnswer(ctx, question{path: path}, err, asked)
		cancel(nil)
		return nil, failed.err
	}
	failed := c.refusal(question{path: path}, resp, resp.Body)
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if failed == nil && kind != eventStream {
		failed = &failure{err: c.unavailable(errors.New("its answer is no stream of events"), 0)}
	}
	if failed != nil {
		cancel(nil)
		_ = resp.Body.Close() // nothing of it is wanted
		return nil, failed.err
	}
	return &stream{resp.Body, cancel}, nil
}

const eventStream = "text/event-stream"

// stream is the body of an answer with the end of its request.
type stream struct {
	io.ReadCloser
	cancel context.CancelCauseFunc
}

func (s *stream) Close() error {
	s.cancel(nil)
	return s.ReadCloser.Close()
}
