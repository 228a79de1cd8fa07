package athens

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

// forever is the Cache-Control of what never changes. Never "public": that would
// let a shared cache store what needed authorization.
const forever = "max-age=31536000, immutable"

// contentTypes are those of the files of a version, by File.
var contentTypes = [...]string{InfoFile: "application/json", ModFile: "text/plain; charset=utf-8", ZipFile: "application/zip"}

// file returns which file a request is for.
func file(kind protocol.Kind) File {
	switch kind {
	case protocol.Mod:
		return ModFile
	case protocol.Zip:
		return ZipFile
	}
	return InfoFile
}

// serveFile answers for a file of a canonical version.
func (x *exchange) serveFile() error {
	m, f := x.req.Module, file(x.req.Kind)
	if err := x.refusal(m, f); err != nil {
		return err
	}
	held, err := x.serveHeld(m, f, forever)
	x.h.prefetch.Requested(m, x.req.Kind, held)
	if held || err != nil {
		return err
	}
	src, err := x.h.sourceOf(x.r.Context(), m, x.route)
	if err != nil {
		return err
	}
	x.source = src.name
	exceeded := x.h.pseudo.Admit(m)
	// Nobody is sent elsewhere for what is blocked, nor is it filled: its .info and
	// .mod are all there is to serve, and come from here.
	if src.location != nil && !x.h.opts.MissFetch && x.route.Blocked == "" && (f != ZipFile || x.h.opts.Admit == nil) {
		if exceeded == nil {
			if err := x.mayFill(Fill{Module: m, Zip: x.fillsZip(f)}); err != nil {
				return err
			}
		}
		if done, err := x.redirect(src, m, f, exceeded == nil); done || err != nil {
			return err
		}
	}
	if exceeded != nil {
		return exceeded
	}
	x.outcome = OutcomeFetch
	return x.serveFetched(src, m, f)
}

// serveHeld answers with a file from the store, and reports whether it is held.
func (x *exchange) serveHeld(m module.Version, f File, cacheControl string) (bool, error) {
	if f != ZipFile {
		if complete, err := x.h.complete(x.r.Context(), m); !complete || err != nil {
			return false, err
		}
	}
	obj, err := x.h.storage.Open(x.r.Context(), m, f)
	if err != nil {
		if errors.Is(err, syscall.EIO) {
			x.h.recheck(m)
		}
		return false, storageError(err)
	}
	defer obj.Body.Close()
	if x.outcome == "" {
		x.outcome, x.source = OutcomeHeld, SourceStore
	}
	if f == ZipFile && x.locateZip(m) {
		return true, nil
	}
	tag := obj.ETag
	if tag == "" && !obj.ModTime.IsZero() {
		tag = `"` + strconv.FormatInt(obj.ModTime.UnixNano(), 36) + "-" + strconv.FormatInt(obj.Size, 36) + `"`
	}
	modTime := obj.ModTime
	if m != x.req.Module { // the answer to a question: another time it is another file
		if tag != "" {
			tag = `"` + m.Version + "-" + tag[1:]
		}
		modTime = time.Time{}
	}
	if err := x.serveContent(contentTypes[f], cacheControl, tag, modTime, obj.Body, obj.Size); err != nil {
		return true, err
	}
	return true, x.broken(m)
}

// broken returns why the body that was just sent is not whole, unless it is the
// client who has gone.
func (x *exchange) broken(m module.Version) error {
	if x.w.err == nil || x.r.Context().Err() != nil {
		return nil
	}
	if _, network := errors.AsType[*net.OpError](x.w.err); network {
		return nil
	}
	x.h.recheck(m)
	return &storeError{x.w.err}
}

// recheck lets the store check a version of which a file could not be read, if it is
// a Rechecker. Damaged files are no longer served, so the next request fetches them
// from their source.
func (h *Handler) recheck(m module.Version) {
	store, ok := h.storage.(Rechecker)
	if !ok {
		return
	}
	h.background.start(jobRecheck, m, func(ctx context.Context) {
		damaged, err := store.Recheck(ctx, m)
		if damaged {
			h.damaged.Add(1)
			h.opts.Logger.Error("stored version is damaged", "module", m.Path, "version", m.Version)
		}
		if err != nil {
			warn(h.opts.Logger, "could not recheck stored version", m, err)
		}
	})
}

// locateZip redirects a client that wants a whole zip to the store's URL for it, if
// the store is a ZipLocator. A request for a part, or a HEAD, is answered here: it
// needs this server's headers, and providers sign no HEAD.
func (x *exchange) locateZip(m module.Version) bool {
	locator, ok := x.h.storage.(ZipLocator)
	if !ok || x.r.Method != http.MethodGet || conditional(x.r.Header) {
		return false
	}
	location, err := locator.ZipURL(x.r.Context(), m)
	if err != nil {
		warn(x.h.opts.Logger, "could not get a URL for the zip from the store", m, err)
		return false
	}
	if location == "" || !x.leadsAway(location) {
		return false
	}
	x.outcome = OutcomeLocated
	x.sendTo(location)
	return true
}

var errRange = errors.New("there is no such range of bytes in this file")

// serveContent answers with a whole file, a part of it, or 304. Its error is that
// there is no such part.
func (x *exchange) serveContent(contentType, cacheControl, tag string, modTime time.Time, body io.ReadSeeker, size int64) error {
	header := x.w.Header()
	values := [...]string{contentType, "nosniff", cacheControl, tag} // one allocation, not four
	header["Content-Type"] = values[0:1:1]
	header["X-Content-Type-Options"] = values[1:2:2]
	header["Cache-Control"] = values[2:3:3]
	if tag != "" {
		header["Etag"] = values[3:4:4]
	}
	if w, ok := body.(io.WriterTo); ok && size <= maxAtOnce && !conditional(x.r.Header) {
		if _, onDisk := body.(*os.File); !onDisk {
			x.serveAtOnce(w, size, modTime)
			return nil
		}
	}
	r := x.r
	if ranges := r.Header.Get("Range"); ranges != "" && !strings.HasPrefix(ranges, "bytes=") {
		r = r.Clone(r.Context())
		r.Header.Del("Range") // RFC 9110, 14.2: a unit that is not known is ignored
	}
	http.ServeContent(&x.w, r, "", modTime, body)
	if refusal, ok := x.w.err.(*requestError); ok {
		return refusal
	}
	return nil
}

// maxAtOnce is the size in bytes up to which a file that is in memory goes to
// the client together with its header.
const maxAtOnce = 64 << 10

// serveAtOnce answers with a whole file that is in memory.
func (x *exchange) serveAtOnce(body io.WriterTo, size int64, modTime time.Time) {
	header := x.w.Header()
	values := [...]string{"bytes", strconv.FormatInt(size, 10), ""}
	header["Accept-Ranges"] = values[0:1:1]
	header["Content-Length"] = values[1:2:2]
	if !modTime.IsZero() {
		values[2] = modTime.UTC().Format(http.TimeFormat)
		header["Last-Modified"] = values[2:3:3]
	}
	x.w.WriteHeader(http.StatusOK)
	if x.r.Method != http.MethodHead {
		_, x.w.err = body.WriteTo(&x.w)
	}
}

// conditional reports whether a request may be answered with less than the whole
// file.
func conditional(header http.Header) bool {
	for _, name := range [...]string{"Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since"} {
		if len(header[name]) > 0 {
			return true
		}
	}
	return false
}

// redirect sends the client to the upstream and, if it is wanted, schedules a fill. It
// reports false if the client can't be sent there.
func (x *exchange) redirect(src source, m module.Version, f File, fill bool) (bool, error) {
	path, err := protocol.FilePath(m, f.String())
	if err != nil {
		return false, &requestError{http.StatusBadRequest, err}
	}
	location, err := src.location.Location(x.r.Context(), path)
	if err == nil && !x.leadsAway(location) {
		return false, nil
	}
	if fill {
		x.h.fills.enqueue(Fill{Module: m, Zip: x.fillsZip(f)}, x.h.opts.FillAfter)
	}
	if err != nil {
		return false, err
	}
	x.outcome = OutcomeRedirect
	x.sendTo(location) // for now: soon this server answers itself
	return true, nil
}

// sendTo answers that what was asked for is at location, this time.
func (x *exchange) sendTo(location string) {
	header := x.w.Header()
	header.Set("Location", location)
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Length", "0")
	x.w.WriteHeader(http.StatusFound)
}

// fillsZip reports whether a miss of f is filled with the zip as well.
func (x *exchange) fillsZip(f File) bool {
	return f == ZipFile || x.h.opts.FillWhole && x.route.Blocked == ""
}

// leadsAway reports whether a client may be sent to location: not back here,
// and not from https to http, which the go command refuses.
func (x *exchange) leadsAway(location string) bool {
	to, err := url.Parse(location)
	if err != nil || to.User != nil || to.Host == "" || sameHost(to, x.r.Host) {
		return false
	}
	secure := x.r.TLS != nil || strings.EqualFold(x.r.Header.Get("X-Forwarded-Proto"), "https")
	return to.Scheme == "https" || to.Scheme == "http" && !secure
}

// sameHost reports whether a URL leads to what a Host header names, which lacks
// the port where it is the scheme's own.
func sameHost(to *url.URL, host string) bool {
	if strings.EqualFold(to.Host, host) {
		return true
	}
	port := map[string]string{"http": ":80", "https": ":443"}[to.Scheme]
	return port != "" && strings.EqualFold(strings.TrimSuffix(to.Host, port), strings.TrimSuffix(host, port))
}
