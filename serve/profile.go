package serve

import (
	"fmt"
	"net/http"
	"runtime/pprof"
	"runtime/trace"
	"strconv"
	"time"
)

// maxProfile is how long a profile takes at most.
const maxProfile = 5 * time.Minute

// serveProfile answers with the profile that the path names, for "go tool pprof" and "go
// tool trace". It stands in for net/http/pprof, whose import alone would make every
// service that serves http.DefaultServeMux show its memory to clients.
func serveProfile(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path
	switch name {
	case "":
		listProfiles(w)
		return
	case "profile":
		during(w, r, 30, func() error { return pprof.StartCPUProfile(w) }, pprof.StopCPUProfile)
		return
	case "trace":
		during(w, r, 1, func() error { return trace.Start(w) }, trace.Stop)
		return
	}
	p := pprof.Lookup(name)
	if p == nil {
		http.NotFound(w, r)
		return
	}
	debug, _ := strconv.Atoi(r.FormValue("debug")) // what is no number is 0, as in net/http/pprof
	if debug == 0 {
		asFile(w, name)
	} else {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	}
	_ = p.WriteTo(w, debug) // the client may have gone
}

// during answers with what is recorded for the seconds that the request names.
func during(w http.ResponseWriter, r *http.Request, seconds float64, start func() error, stop func()) {
	if asked := r.FormValue("seconds"); asked != "" {
		n, err := strconv.ParseFloat(asked, 64)
		if err != nil || !(n > 0) || n > maxProfile.Seconds() {
			writeText(w, http.StatusBadRequest, fmt.Sprintf("seconds is a number up to %v\n", maxProfile.Seconds()))
			return
		}
		seconds = n
	}
	length := time.Duration(seconds * float64(time.Second))
	// The server's own limit for writing an answer does not know how long this takes.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(length + time.Minute))
	asFile(w, "profile")
	if err := start(); err != nil {
		w.Header().Del("Content-Disposition")
		writeText(w, http.StatusConflict, "another profile is being recorded: "+err.Error()+"\n")
		return
	}
	defer stop()
	timer := time.NewTimer(length)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.Context().Done():
	}
}

// asFile says that the answer is a profile of that name.
func asFile(w http.ResponseWriter, name string) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", `attachment; filename="`+name+`"`)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
}

// listProfiles answers with the names of the profiles.
func listProfiles(w http.ResponseWriter) {
	text := "profile?seconds=30\ntrace?seconds=1\n"
	for _, p := range pprof.Profiles() {
		text += fmt.Sprintf("%s\t%d\n", p.Name(), p.Count())
	}
	writeText(w, http.StatusOK, text)
}
