package events

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

// How readers are served.
const (
	maxWait      = 60 * time.Second // of a long poll
	maxAnswer    = 1000             // events in an answer of JSON
	batchSize    = 256              // events in a write of a stream
	writeTimeout = 10 * time.Second // for each
	streamTime   = 10 * time.Minute
	eventStream  = "text/event-stream"
)

// Front returns a handler that answers GET and HEAD of /events, and passes all others on to
// next. No module path is like that.
func (f *Feed) Front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" && protocol.IsQuestion(r) {
			f.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// reader is a request for events.
type reader struct {
	feed  *Feed
	w     http.ResponseWriter
	r     *http.Request
	after int64
	epoch string // of after; empty if the client did not say
	wait  time.Duration
	done  bool // it only reports how far it is
}

// ServeHTTP answers a request for events, whatever its path. The query has after=N, the number
// up to which the reader has seen everything, zero if it is missing, or the client sends
// Last-Event-ID; and it may have epoch=E, of an earlier answer. For JSON, wait=30s, at most
// 60s, waits until there is an event. The epoch is also in the header Athens-Epoch. With
// follower=NAME the client is one of [Feed.Readers]; records=N and lacking=N say how far it
// is with a ledger, and report=1 that this is all it wants.
func (f *Feed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if !protocol.IsQuestion(r) {
		header.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD are allowed", http.StatusMethodNotAllowed)
		return
	}
	one, err := f.reader(w, r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	select {
	case f.slots <- struct{}{}:
		defer func() { <-f.slots }()
	default:
		header.Set("Retry-After", "5")
		http.Error(w, "too many clients read events; try again", http.StatusServiceUnavailable)
		return
	}
	header.Add("Vary", "Accept")
	header.Set("Athens-Epoch", f.look().epoch)
	query := r.URL.Query()
	f.follows.note(r, query, one.after)
	one.done = query.Get("report") != ""
	if accepts(r.Header) {
		one.stream()
		return
	}
	one.poll()
}

// accepts reports whether a client wants a stream.
func accepts(h http.Header) bool {
	for item := range strings.SplitSeq(strings.Join(h.Values("Accept"), ","), ",") {
		if kind, _, err := mime.ParseMediaType(item); err == nil && kind == eventStream {
			return true
		}
	}
	return false
}

// reader reads a request.
func (f *Feed) reader(w http.ResponseWriter, r *http.Request) (*reader, error) {
	one := &reader{feed: f, w: w, r: r}
	query := r.URL.Query()
	after := query.Get("after")
	if last := r.Header.Get("Last-Event-ID"); last != "" { // newer than the URL of a stream that was cut
		after = last
	}
	var err error
	if after != "" {
		if one.after, err = strconv.ParseInt(after, 10, 64); err != nil || one.after < 0 {
			return nil, fmt.Errorf("after is %.40q, not the number of an event", after)
		}
	}
	if one.epoch = query.Get("epoch"); len(one.epoch) > 64 {
		return nil, errors.New("epoch is too long")
	}
	if wait := query.Get("wait"); wait != "" {
		if one.wait, err = time.ParseDuration(wait); err != nil || one.wait < 0 {
			return nil, fmt.Errorf("wait is %.40q, not a duration such as 30s", wait)
		}
		one.wait = min(one.wait, maxWait)
	}
	return one, nil
}

// allows returns what decides about the events of a module; nil lets all through.
func (f *Feed) allows() func(*http.Request, module.Version) error {
	if allow := f.allow.Load(); allow != nil {
		return *allow
	}
	return nil
}

// unseen returns what the reader has not seen, as far as it may see it, and moves the reader
// on: at most so many events, and whether there are more.
func (one *reader) unseen(most int) (events []Event, more bool, news <-chan struct{}) {
	v := one.feed.look()
	standing, newer, reset := v.after(one.after, one.epoch, v.last)
	if reset {
		one.after = 0
		events = append(events, Event{Kind: Reset, Time: time.Now().UTC()})
		most += len(standing) // they come at once: a reader that is cut off within them starts again
	}
	one.epoch = v.epoch
	allow := one.feed.allows()
	for _, list := range [][]Event{standing, newer} {
		for _, e := range list {
			if len(events) >= most {
				return events, true, v.news
			}
			one.after = max(one.after, e.Seq)
			if allow == nil || allow(one.r, module.Version{Path: e.Module}) == nil {
				events = append(events, e)
			}
		}
	}
	one.after = max(one.after, v.upTo)
	return events, false, v.news
}

// page is an answer of JSON.
type page struct {
	Epoch  string  `json:"epoch"`
	Next   int64   `json:"next"` // for after
	Events []Event `json:"events"`
}

// poll answers with JSON, once there is something or the reader has waited long enough.
func (one *reader) poll() {
	ctx, cancel := context.WithTimeout(one.r.Context(), one.wait)
	defer cancel()
	for {
		found, _, news := one.unseen(maxAnswer)
		if len(found) == 0 && one.r.Method == http.MethodGet {
			if _, ok := one.await(ctx, news, nil); ok {
				continue
			}
		}
		one.answer(found)
		return
	}
}

// await waits for news or a tick. It returns false when the reader has waited long enough.
func (one *reader) await(ctx context.Context, news <-chan struct{}, tick <-chan time.Time) (ticked, ok bool) {
	select {
	case <-news:
		return false, true
	case <-tick:
		return true, true
	case <-ctx.Done():
	case <-one.feed.ended:
	}
	return false, false
}

func (one *reader) answer(found []Event) {
	if found == nil {
		found = []Event{} // not null
	}
	data, err := json.Marshal(page{one.epoch, one.after, found})
	if err != nil {
		http.Error(one.w, err.Error(), http.StatusInternalServerError)
		return
	}
	one.w.Header().Set("Content-Type", "application/json")
	_ = http.NewResponseController(one.w).SetWriteDeadline(time.Now().Add(writeTimeout)) // a server of another kind may have none
	_, _ = one.w.Write(append(data, '\n'))                                               // the client may have gone
}

// stream sends events until the client leaves, does not read, or it is time to connect anew.
func (one *reader) stream() {
	ctx, cancel := context.WithTimeout(one.r.Context(), streamTime)
	defer cancel()
	header := one.w.Header()
	header.Set("Content-Type", eventStream)
	header.Set("X-Accel-Buffering", "no") // a reverse proxy that gathers answers passes events on too late
	tick := time.NewTicker(one.feed.opts.HeartbeatInterval)
	defer tick.Stop()
	lives := fmt.Sprintf(": epoch %s\n\n", one.feed.look().epoch) // what to send if there are no events
	if one.done {
		_ = one.send(lives, nil) // the client may have gone
		return
	}
	for {
		found, more, news := one.unseen(batchSize)
		if len(found) > 0 || lives != "" {
			if err := one.send(lives, found); err != nil || one.r.Method == http.MethodHead {
				return
			}
		}
		lives = ""
		if more && ctx.Err() == nil {
			continue
		}
		switch ticked, ok := one.await(ctx, news, tick.C); {
		case !ok:
			return
		case ticked: // not at once after events that the reader may not see
			lives = ": \n"
		}
	}
}

// send writes a batch of events and the number up to which the reader has seen everything.
func (one *reader) send(first string, found []Event) error {
	b := bytes.NewBufferString(first)
	for _, e := range found {
		data, err := json.Marshal(e)
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "id: %d\nevent: %s\ndata: %s\n\n", e.Seq, e.Kind, data)
	}
	fmt.Fprintf(b, "id: %d\n\n", one.after)
	control := http.NewResponseController(one.w)
	_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // a server of another kind may have none
	if _, err := one.w.Write(b.Bytes()); err != nil {
		return err
	}
	return control.Flush()
}
