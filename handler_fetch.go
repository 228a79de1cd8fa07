package athens

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/spool"
)

// serveFetched answers with a file that the store does not hold: it fetches the file.
func (x *exchange) serveFetched(src source, m module.Version, f File) error {
	if err := x.h.answers.missingFor(inquiry{question: fileQuestion(m, f), anew: noCache(x.r.Header)}); err != nil {
		x.remembered = true
		return err
	}
	if !x.h.fetches.running(src, m, x.chain, f) {
		if err := x.mayFetch(m); err != nil {
			return err
		}
	}
	if x.h.opts.FillWhole && !src.vcs && f != ZipFile && x.fillsZip(f) {
		x.h.fills.enqueue(Fill{Module: m, Zip: true}, x.h.opts.FillAfter)
	}
	done, err := x.serveInFlight(src, m, f)
	if done || err != nil {
		return err
	}
	held, err := x.serveHeld(m, f, forever)
	if err == nil && !held {
		err = &storeError{fmt.Errorf("it lost %s.%s", m, f)}
	}
	return err
}

// mayFetch asks Options.AllowFetch, once for a request, whether it may cause a fetch.
func (x *exchange) mayFetch(m module.Version) error {
	if x.h.opts.AllowFetch == nil || x.mayCost {
		return nil
	}
	err := refusedRequest(x.h.opts.AllowFetch(x.r, m))
	if x.mayCost = err == nil; !x.mayCost {
		x.source = "" // nothing was asked
	}
	return err
}

// refusedRequest makes the error of a hook the answer to the request: 403, or the status of
// a RefusedError that it wraps.
func refusedRequest(err error) error {
	if err == nil {
		return nil
	}
	return &requestError{http.StatusForbidden, err}
}

// serveInFlight joins or starts the fetch of a file. If clients may have the file before it
// is stored, it answers with it and returns true. Otherwise it waits until the file is
// stored.
func (x *exchange) serveInFlight(src source, m module.Version, f File) (bool, error) {
	ctx := x.r.Context()
	if f == ZipFile {
		return x.serveZipInFlight(x.h.fetches.joinZip(src, m, x.chain, x.start))
	}
	a := x.h.fetches.joinMeta(src, m, x.chain, x.start, f)
	if f == ModFile {
		mod, err := a.mod.Wait(ctx)
		if mod == nil || err != nil {
			return false, err
		}
		return true, x.serveAnswer(contentTypes[f], forever, mod)
	}
	info, err := a.info.Wait(ctx)
	if info == nil || err != nil {
		return false, err
	}
	body, err := info.Encode()
	if err != nil {
		return false, err
	}
	return true, x.serveAnswer(contentTypes[f], forever, body)
}

// serveZipInFlight sends a zip while it is fetched, to a client that can tell how a
// body ends: a bad zip must not look like a whole one.
func (x *exchange) serveZipInFlight(a *zipFetch) (bool, error) {
	ctx := x.r.Context()
	if x.r.Method == http.MethodGet && x.r.ProtoAtLeast(1, 1) && x.r.Header.Get("Range") == "" {
		sp, err := a.spool.Wait(ctx)
		if err != nil {
			return false, err
		}
		if sp != nil && sp.Use() {
			defer sp.Leave()
			err := x.serveSpool(sp)
			if errors.Is(err, errCrashed) {
				_, err = a.stored.Wait(ctx) // which knows how
			}
			return true, err
		}
	}
	_, err := a.stored.Wait(ctx)
	return false, err
}

// serveSpool answers with a zip that is still being fetched. It sends no Content-Length: a
// client that knew the length would take a zip for whole before its check has ended.
func (x *exchange) serveSpool(sp *spool.Spool) error {
	// Wait for the first byte: until then, an error can still be the answer.
	if _, _, err := sp.Await(x.r.Context(), 0); err != nil {
		return err
	}
	header := x.w.Header()
	header.Set("Content-Type", contentTypes[ZipFile])
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", forever)
	x.w.extend()
	err := sp.CopyTo(x.r.Context(), &x.w, func() error {
		err := http.NewResponseController(&x.w).Flush()
		if errors.Is(err, http.ErrNotSupported) {
			err = nil // behind such middleware a client waits for a larger part
		}
		return err
	})
	if unread, ok := errors.AsType[*spool.ReadError](err); ok {
		err = &storeError{unread.Err}
	}
	return err
}

// refusal returns why a file of a version may not be served; nil means that it may.
func (x *exchange) refusal(m module.Version, f File) error {
	if x.route.Blocked == "" || f == ModFile || f == InfoFile && x.route.Until.IsZero() {
		return nil
	}
	if !x.route.Until.IsZero() {
		if err := x.see(m); err != nil {
			return err
		}
	}
	return x.route.refusal(m)
}

// see fetches .info and .mod of a version that is too young and not held, and then asks
// Options.Route again: only then has the handler told Options.Named the version's time.
func (x *exchange) see(m module.Version) error {
	ctx := x.r.Context()
	if held, err := x.h.keeper.holds(ctx, m, ModFile); held || err != nil {
		return err
	}
	src, err := x.h.sourceOf(ctx, m, x.route)
	if err != nil {
		return err
	}
	x.source = src.name
	if err := x.h.answers.missing(fileQuestion(m, InfoFile)); err != nil {
		x.remembered = true
		return err
	}
	if err := x.h.pseudo.Admit(m); err != nil {
		return err
	}
	if err := x.mayFetch(m); err != nil {
		return err
	}
	if _, err := x.h.fetches.joinMeta(src, m, x.chain, x.start, InfoFile, ModFile).stored.Wait(ctx); err != nil {
		return err
	}
	x.source = ""
	x.route, err = x.h.route(ctx, m)
	return err
}

// mayFill is mayFetch for a fill. A fill that was scheduled a moment ago is allowed.
func (x *exchange) mayFill(f Fill) error {
	if x.h.opts.AllowFetch == nil {
		return nil
	}
	_, lately := x.h.scheduled.Get(f)
	if !lately && !f.Zip {
		_, lately = x.h.scheduled.Get(Fill{Module: f.Module, Zip: true})
	}
	if lately {
		return nil
	}
	err := x.mayFetch(f.Module)
	if err == nil {
		x.h.scheduled.PutFor(f, struct{}{}, max(x.h.opts.FillAfter, time.Minute))
	}
	return err
}
