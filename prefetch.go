package athens

import (
	"go/version"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flight"
	"github.com/athens-go/athens/internal/protocol"
)

// prefetcher fetches what a go command is about to ask for, while it is busy with
// what it has: it asks mostly for one file after the other, so a cold build waits
// for the sum of all the distances.
//
// A .mod is followed by those that it requires, as the go command reads them (see
// follow), and the .info of a version whose .mod was asked for is by its zip, once
// a first zip was asked for: "go mod download" reads the module graph, then each
// .info, then each zip, and "go list -m all" does the same without the zips. It
// begins when a client is seen to follow a requirement, so that who asks for one
// version causes no other fetch. What was not asked for never goes before what
// was: it has fewer places than there are connections, and nobody waits for it who
// could do without.
type prefetcher struct {
	h *Handler

	mu            sync.Mutex
	queue         []candidate
	zips          []candidate // that wait for a client to ask for a first zip
	active        bool        // a client follows requirements; else nobody works on the queue
	zipsRequested bool        // a client asks for zips
	workers       int
	closed        bool
	running       sync.WaitGroup
	seen          map[module.Version]link // candidates of late
	modRequested  map[module.Version]bool
	credit        int       // how many guesses may be made, see follow
	proved        int       // how many came true
	asked         time.Time // when a client last wanted something that was not held
}

// link is how a version was come upon.
type link struct {
	depth int  // from what a client asked for; zero: a client did
	sure  bool // by way of a module without pruning: all that it leads to is read
	guess bool // it may be read or not
	idle  bool // a guess that there was no credit for
	leaf  bool // it was a guess: that it is read does not mean that its graph is
	read  bool // what it requires was followed
}

// candidate is something to be fetched ahead.
type candidate struct {
	module module.Version
	zip    bool
}

const (
	// prefetchIdle is how long after a client's last miss its candidates are still
	// of use.
	prefetchIdle = 10 * time.Second
	// maxCandidates bounds what is queued, and what is remembered.
	maxCandidates = 8192
	// maxFollowed is the size in bytes of the largest .mod that is parsed.
	maxFollowed = 256 << 10
	// maxRequires bounds what one .mod can make this server fetch.
	maxRequires = 2048
	// maxDepth bounds how far requirements are followed from what was asked.
	maxDepth = 64
	// firstCredit and maxCredit bound the guesses that are open before one came
	// true, and at all. Each that comes true makes room for another, and
	// every provedMore of them for one more, so that few are ever in vain.
	firstCredit, maxCredit, provedMore = 2, 64, 20
)

func newPrefetcher(h *Handler) *prefetcher {
	return &prefetcher{
		h:            h,
		seen:         make(map[module.Version]link),
		modRequested: make(map[module.Version]bool),
		credit:       firstCredit,
	}
}

// ask notes that a client asks for a file, held or not. A nil prefetcher notes
// nothing.
func (a *prefetcher) ask(m module.Version, f File, held bool) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if held && now.Sub(a.asked) > prefetchIdle {
		return // a warm server
	}
	if now.Sub(a.asked) > prefetchIdle {
		a.active, a.zipsRequested, a.queue, a.zips, a.credit, a.proved = false, false, nil, nil, firstCredit, 0
		clear(a.seen)
		clear(a.modRequested)
	}
	if !held {
		a.asked = now
	}
	if l, ok := a.seen[m]; ok && l.depth > 0 {
		a.predicted(m, l, f)
	}
	switch f {
	case ModFile:
		if len(a.modRequested) > maxCandidates {
			clear(a.modRequested)
		}
		a.modRequested[m] = true
		l := a.seen[m]
		l.depth, l.guess, l.idle = 0, false, false
		a.seen[m] = l
	case InfoFile:
		if a.active && a.modRequested[m] {
			delete(a.modRequested, m)
			a.addZip(m)
		}
	case ZipFile:
		if a.active && !a.zipsRequested {
			a.zipsRequested = true
			for _, w := range a.zips {
				if w.module != m {
					a.candidate(w)
				}
			}
			a.zips = nil
		}
	}
}

// predicted notes that a client asks for a file of a candidate. The caller
// holds the lock.
func (a *prefetcher) predicted(m module.Version, l link, f File) {
	a.seen[m] = link{sure: l.sure, read: l.read, leaf: l.guess}
	a.active = a.active || f == ModFile
	if l.guess && !l.idle {
		a.proved++
		a.credit = min(a.credit+1, maxCredit)
		if a.proved%provedMore == 0 {
			a.credit = min(a.credit+1, maxCredit)
		}
	}
	if l.guess && a.credit > 0 {
		a.candidate(candidate{m, false}) // to follow what it requires
	}
	a.start()
}

// addZip candidates for a zip as soon as clients ask for some. The caller holds the lock.
func (a *prefetcher) addZip(m module.Version) {
	switch {
	case a.zipsRequested:
		a.candidate(candidate{m, true})
	case len(a.zips) < maxCandidates:
		a.zips = append(a.zips, candidate{m, true})
	}
}

// follow candidates for what mod, the .mod of m, requires. As the go command loads a
// module graph, all is read that a module without pruning (before go 1.17) leads
// to, by whatever modules. Below others a client reads on only sometimes: each of
// these is a guess, which costs credit and is not followed before a client asked
// for it, and then by guesses again: such a .mod may be read for itself alone. See
// readModGraph in cmd/go/internal/modload.
func (a *prefetcher) follow(m module.Version, mod []byte) {
	if a == nil || len(mod) > maxFollowed {
		return
	}
	file, err := modfile.ParseLax("go.mod", mod, nil)
	if err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	from := a.seen[m]
	if from.guess || from.depth >= maxDepth {
		return
	}
	from.read = true
	a.seen[m] = from
	to := link{depth: from.depth + 1, sure: true}
	if !from.sure && (from.leaf || file.Go != nil && version.Compare("go"+file.Go.Version, "go1.17") >= 0) {
		to.sure, to.guess = false, true
	}
	if len(a.seen) > maxCandidates {
		clear(a.seen)
	}
	for _, r := range file.Require[:min(len(file.Require), maxRequires)] {
		l, known := a.seen[r.Mod]
		if known && (l.sure || to.guess) || !protocol.Canonical(r.Mod) {
			continue
		}
		if to.guess && a.credit == 0 {
			to.idle = true
			a.seen[r.Mod] = to
			continue
		}
		if to.guess {
			a.credit--
		}
		if known && l.depth == 0 {
			l.sure, l.read = true, false // and so is what it requires
			a.seen[r.Mod] = l
		} else {
			a.seen[r.Mod] = to
		}
		a.candidate(candidate{r.Mod, false})
	}
}

// candidate queues w. The caller holds the lock.
func (a *prefetcher) candidate(w candidate) {
	if a.closed || len(a.queue) >= maxCandidates {
		return
	}
	a.queue = append(a.queue, w)
	a.start()
}

// start sees to it that there are workers for what is queued. The caller holds
// the lock.
func (a *prefetcher) start() {
	if !a.active || a.closed {
		return
	}
	for n := len(a.queue); n > 0 && a.workers < a.h.opts.Prefetch; n-- {
		a.workers++
		a.running.Go(a.work)
	}
}

// work fetches candidates until there are none left.
func (a *prefetcher) work() {
	for {
		w, ok := a.next()
		if !ok {
			return
		}
		a.fetch(w)
	}
}

// next takes the first candidate, or ends the worker. What a client that has gone
// would have asked for is dropped.
func (a *prefetcher) next() (candidate, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.asked) > prefetchIdle {
		a.queue = nil
	}
	if len(a.queue) == 0 {
		a.workers--
		return candidate{}, false
	}
	w := a.queue[0]
	a.queue = a.queue[1:]
	return w, true
}

// fetch makes the store hold w, unless w is private or blocked: a .mod that
// anybody may have written must not make this server go there.
func (a *prefetcher) fetch(w candidate) {
	h, ctx := a.h, a.h.ctx
	defer func() {
		if v := recover(); v != nil { // of a hook or the store: there is no request to end
			logPanic(h.opts.Logger, &flight.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	route, err := h.route(ctx, w.module)
	if err != nil || route.Private || route.Blocked != "" {
		return
	}
	src, err := h.sourceOf(w.module, route)
	if err != nil {
		return
	}
	if w.zip {
		if held, err := h.holds(ctx, w.module, ZipFile); !held && err == nil {
			_, _ = h.joinZip(src, w.module, "", time.Now()).stored.Wait(ctx) // whoever asks gets the error
		}
		return
	}
	held, err := h.holds(ctx, w.module, ModFile)
	if err == nil && !held {
		_, err = h.joinMeta(src, w.module, "", time.Now(), InfoFile, ModFile).stored.Wait(ctx)
	}
	if err != nil || !a.unread(w.module) {
		return // whoever asks gets the error
	}
	// It was held, or was a guess when it came.
	if mod, err := h.read(ctx, w.module, ModFile, h.opts.MaxModBytes); err == nil {
		a.follow(w.module, mod)
	}
}

// unread reports whether what a version requires was not followed yet, and may be.
func (a *prefetcher) unread(m module.Version) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.seen[m]
	return !l.guess && !l.read
}

// stop drops what is queued and waits for the workers.
func (a *prefetcher) stop() {
	if a == nil {
		return
	}
	a.mu.Lock()
	a.closed, a.queue = true, nil
	a.mu.Unlock()
	a.running.Wait()
}
