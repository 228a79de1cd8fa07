package web

import (
	"bytes"
	"context"
	"net/http"
	"time"
)

// How the first page is kept up to date in browsers.
const (
	maxStreams      = 64 // at the same time; the next browser asks again every few seconds
	streamTime      = 10 * time.Minute
	streamTick      = time.Second // between two looks
	streamHeartbeat = 15 * time.Second
	streamRefresh   = 30 * time.Second // how old "5 seconds ago" may become
	streamWrite     = 10 * time.Second // a browser that takes nothing for so long is cut
)

// stream sends the part of the first page that changes, whenever it has changed, as
// server-sent events. It ends after ten minutes, so that a login that was revoked ends with
// it; browsers connect again.
func (q *request) stream() (string, error) {
	if !q.streams.TryAcquire() {
		q.w.Header().Set("Retry-After", "5")
		return "", &statusError{http.StatusServiceUnavailable, "Too many browsers watch this page."}
	}
	defer q.streams.Release()
	ctx, cancel := context.WithTimeout(q.r.Context(), streamTime)
	defer cancel()
	q.ctx = ctx
	header := q.w.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no") // a reverse proxy that gathers answers passes events on too late
	if q.r.Method == http.MethodHead {
		return "", nil
	}
	tick := time.NewTicker(streamTick)
	defer tick.Stop()
	var last []byte
	var state streamState
	var sent, rendered time.Time
	for {
		now := time.Now()
		if next := q.streamState(); next != state || now.Sub(rendered) >= streamRefresh {
			state, rendered = next, now
			html, err := q.liveHTML()
			if err != nil {
				return "", nil // the browser asks again
			}
			if !bytes.Equal(html, last) {
				if q.send("live", html) != nil {
					return "", nil
				}
				last, sent = html, now
			}
		}
		if now.Sub(sent) >= streamHeartbeat {
			if q.send("", nil) != nil {
				return "", nil
			}
			sent = now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", nil
		case <-q.ended:
			return "", nil
		}
	}
}

// streamState is what must have changed for the page to have changed.
type streamState struct{ events, pending, running, ended int64 }

func (q *request) streamState() streamState {
	s := streamState{events: q.activity.events.Load()}
	if status, ok := q.fillStatus(); ok {
		s.pending, s.running, s.ended = status.Counts.Pending, status.Counts.Running, status.Counts.Done+status.Counts.Failed
	}
	return s
}

// liveHTML makes the part of the first page that changes, as the reader may see it.
func (q *request) liveHTML() ([]byte, error) {
	q.Data = q.liveData()
	var b bytes.Buffer
	err := q.pages.ExecuteTemplate(&b, "live.html", &q.view)
	return b.Bytes(), err
}

// send writes an event; one without a name is a comment, which shows that the stream lives.
func (q *request) send(name string, data []byte) error {
	var b bytes.Buffer
	if name == "" {
		b.WriteString(": \n\n")
	} else {
		b.WriteString("event: " + name + "\n")
		for line := range bytes.Lines(bytes.ReplaceAll(data, []byte("\r"), nil)) {
			b.WriteString("data: ")
			b.Write(bytes.TrimSuffix(line, []byte("\n")))
			b.WriteByte('\n')
		}
		b.WriteByte('\n')
	}
	control := http.NewResponseController(q.w)
	_ = control.SetWriteDeadline(time.Now().Add(streamWrite)) // a server of another kind may have none
	if _, err := q.w.Write(b.Bytes()); err != nil {
		return err
	}
	return control.Flush()
}
