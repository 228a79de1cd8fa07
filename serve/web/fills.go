package web

import (
	"context"
	"net/http"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fill"
)

// maxEvents is how many events a page lists.
const maxEvents = 100

// fillsData is what is fetched in the background, and what happened to it.
type fillsData struct {
	Known                          bool // there is a scheduler that can tell
	Counts                         fill.Counts
	Journal                        string
	Running, Pending, Failed, Done []row
	About                          module.Version // whose history is shown; zero: of all failures
	History                        []row
	Retried                        bool
}

// fillStatus asks the scheduler, if it can tell, what it has.
func (q *request) fillStatus() (fill.Status, bool) {
	switch f := q.watched.Load().Fills.(type) {
	case interface{ Status() fill.Status }:
		return f.Status(), true
	case interface {
		Status(ctx context.Context) (fill.Status, error)
	}:
		s, err := f.Status(q.ctx)
		return s, err == nil
	}
	return fill.Status{}, false
}

// fills makes the page of fills and failures.
func (q *request) fills() (string, error) {
	q.Title, q.Section = "Fills and failures", "fills"
	d := &fillsData{Retried: q.r.URL.Query().Has("retried")}
	q.Data = d
	if about := q.r.URL.Query().Get("m"); about != "" {
		m, err := q.version(about)
		if err != nil {
			return "", err
		}
		d.About = m
	}
	var status fill.Status
	status, d.Known = q.fillStatus()
	d.Running = q.entries(status.Running, func(e *fill.Entry) time.Time { return e.Started })
	d.Pending = q.entries(status.Pending, func(e *fill.Entry) time.Time { return e.Due })
	d.Failed = q.entries(status.Failed, func(e *fill.Entry) time.Time { return e.Ended })
	d.Done = q.entries(status.Done, func(e *fill.Entry) time.Time { return e.Ended })
	if q.reader.all {
		d.Counts, d.Journal = status.Counts, status.Journal
	} else {
		d.Counts = fill.Counts{Running: int64(len(d.Running)), Pending: int64(len(d.Pending)), Failed: int64(len(d.Failed)), Done: int64(len(d.Done))}
	}
	for _, h := range q.activity.latest(&q.activity.history, maxEvents, func(h *happened) bool {
		if d.About.Path == "" {
			return h.failed() && q.sees(h.module.Path)
		}
		return h.module.Path == d.About.Path && (d.About.Version == "" || h.module.Version == d.About.Version)
	}) {
		d.History = append(d.History, q.historyRow(&h))
	}
	return "fills.html", nil
}

func (q *request) historyRow(h *happened) row {
	return row{Module: h.module, At: h.at, What: h.op, Source: h.source, Bytes: h.bytes, Took: h.duration, Outcome: h.outcome, Reason: h.reason(q.reader.all)}
}

// entries are those fills that the reader may see.
func (q *request) entries(all []fill.Entry, at func(e *fill.Entry) time.Time) (rows []row) {
	for i := range all {
		e := &all[i]
		if len(rows) == maxEvents || !q.sees(e.Path) {
			continue
		}
		r := row{Module: module.Version{Path: e.Path, Version: e.Version}, At: at(e), What: "mod", Attempts: e.Attempts}
		if e.Zip {
			r.What = "zip"
		}
		if q.reader.all {
			r.Reason = cut(e.Reason, 500)
		}
		rows = append(rows, r)
	}
	return rows
}

// retry schedules a fill again, for a reader who may see everything and sent the form of
// this page.
func (q *request) retry() (string, error) {
	if !q.reader.all {
		return "", &statusError{http.StatusForbidden, "You have no right to try this again."}
	}
	if err := http.NewCrossOriginProtection().Check(q.r); err != nil {
		return "", &statusError{http.StatusForbidden, "The form was sent by another site."}
	}
	q.r.Body = http.MaxBytesReader(q.w, q.r.Body, 4<<10)
	m, err := q.version(q.r.PostFormValue("m"))
	fills := q.watched.Load().Fills
	if err != nil || m.Version == "" || fills == nil {
		return "", &statusError{http.StatusBadRequest, "There is nothing to try again."}
	}
	if err := fills.Schedule(q.ctx, athens.Fill{Module: m, Zip: q.r.PostFormValue("zip") == "zip"}, 0); err != nil {
		return "", &statusError{http.StatusServiceUnavailable, "The fill was not accepted: " + cut(err.Error(), 200)}
	}
	http.Redirect(q.w, q.r, q.Base+"/-/fills?retried", http.StatusSeeOther)
	return "", nil
}

// mayPost reports whether a page takes forms.
func mayPost(path string) bool { return strings.TrimSuffix(path, "/") == "/-/fills" }
