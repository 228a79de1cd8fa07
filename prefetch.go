package athens

import (
	"go/version"
	"sync"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

// prefetcher fetches what a go command is about to ask for, while it is busy with
// what it has: it asks mostly for one file after the other, so a cold build waits
// for the sum of all the distances.
//
// A .mod is followed by those that it requires, as the go command reads them (see
// follow). The .info of a version whose .mod was requested is followed by its zip,
// once a client has requested a first zip: "go mod download" reads the module graph,
// then each .info, then each zip, and "go list -m all" does the same without the
// zips. Prefetching begins when a client is seen to follow a requirement, so a client
// that asks for one version causes no other fetch. What clients request goes first:
// there are fewer prefetch slots than connections. How much is fetched ahead is in
// proportion to what clients request (see budget).
type prefetcher struct {
	slots int                                // fetches at once
	load  func(candidate) (fetched, ok bool) // makes the store hold a candidate
	read  func(module.Version) ([]byte, error)

	mu            sync.Mutex
	queue         []candidate
	zips          []candidate // that wait for a client to request a first zip
	active        bool        // a client follows requirements; otherwise nobody works on the queue
	zipsRequested bool
	workers       int
	closed        bool
	running       sync.WaitGroup
	seen          map[module.Version]link // candidates of late
	modRequested  map[module.Version]bool
	credit        int       // how many guesses may be made, see follow
	proved        int       // how many came true
	requests      int       // versions that clients requested
	fetches       int       // candidates that were fetched, or are being fetched
	asked         time.Time // when a client last requested something that was not held
}

// link is how the prefetcher came upon a version.
type link struct {
	state    state
	depth    int  // requirements between it and what a client requested; zero: a client did
	followed bool // what it requires is known
}

// state is what is known of a version.
type state uint8

const (
	requested state = iota // a client asked for it
	leaf                   // it was a guess, and then a client asked for it, perhaps for itself alone
	certain                // a module without pruning leads to it: all that it leads to is read
	guessed                // a client may read it or not
	noted                  // the same, but there was no credit to fetch it
)

// open reports whether no client has asked for a guess yet.
func (s state) open() bool { return s == guessed || s == noted }

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
	// maxDepth bounds how far requirements are followed from what was requested.
	maxDepth = 64
	// firstCredit and maxCredit bound the guesses that are open before one came
	// true, and at all. Each that comes true makes room for another, and
	// every provedMore of them for one more, so that few are ever in vain.
	firstCredit, maxCredit, provedMore = 2, 64, 20
	// firstFetches and fetchesPerRequest bound what is fetched ahead: a client
	// could make up a module graph whose every version this server would fetch.
	firstFetches, fetchesPerRequest = 8, 4
)

func newPrefetcher(slots int, load func(candidate) (fetched, ok bool), read func(module.Version) ([]byte, error)) *prefetcher {
	return &prefetcher{
		slots:        slots,
		load:         load,
		read:         read,
		seen:         make(map[module.Version]link),
		modRequested: make(map[module.Version]bool),
		credit:       firstCredit,
	}
}

// budget is how many candidates may be fetched until clients request more versions.
// The caller holds the lock.
func (a *prefetcher) budget() int { return firstFetches + fetchesPerRequest*a.requests - a.fetches }

// ask notes that a client asks for a file, held or not. A nil prefetcher notes
// nothing.
func (a *prefetcher) ask(m module.Version, f File, held bool) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	idle := now.Sub(a.asked) > prefetchIdle
	if held && idle {
		return // a warm server
	}
	if idle {
		a.reset()
	}
	if !held {
		a.asked = now
	}
	if l, ok := a.seen[m]; ok && l.depth > 0 {
		a.predicted(m, l, f)
	}
	switch f {
	case ModFile:
		a.askMod(m)
	case InfoFile:
		if a.active && a.modRequested[m] {
			delete(a.modRequested, m)
			a.addZip(m)
		}
	case ZipFile:
		if a.active && !a.zipsRequested {
			a.startZips(m)
		}
	}
}

// reset forgets what clients did that have gone. The caller holds the lock.
func (a *prefetcher) reset() {
	a.active, a.zipsRequested, a.queue, a.zips = false, false, nil, nil
	a.credit, a.proved, a.requests, a.fetches = firstCredit, 0, 0, 0
	clear(a.seen)
	clear(a.modRequested)
}

// askMod notes that a client asks for a .mod. The caller holds the lock.
func (a *prefetcher) askMod(m module.Version) {
	if len(a.modRequested) > maxCandidates {
		clear(a.modRequested)
	}
	a.modRequested[m] = true
	if _, known := a.seen[m]; !known {
		a.seen[m] = link{}
		a.requests++
		a.start()
	}
}

// predicted notes that a client asks for a file of a candidate. The caller
// holds the lock.
func (a *prefetcher) predicted(m module.Version, l link, f File) {
	a.requests++
	a.active = a.active || f == ModFile
	if l.state == guessed {
		a.proved++
		a.credit = min(a.credit+1, maxCredit)
		if a.proved%provedMore == 0 {
			a.credit = min(a.credit+1, maxCredit)
		}
	}
	if l.state.open() && a.credit > 0 {
		a.enqueue(candidate{m, false}) // to follow what it requires
	}
	if l.depth = 0; l.state.open() {
		l.state = leaf
	}
	a.seen[m] = l
	a.start()
}

// addZip queues a zip as soon as clients request some. The caller holds the lock.
func (a *prefetcher) addZip(m module.Version) {
	switch {
	case a.zipsRequested:
		a.enqueue(candidate{m, true})
	case len(a.zips) < maxCandidates:
		a.zips = append(a.zips, candidate{m, true})
	}
}

// startZips queues the zips that clients will ask for after the first, that of m.
// The caller holds the lock.
func (a *prefetcher) startZips(m module.Version) {
	a.zipsRequested = true
	for _, c := range a.zips {
		if c.module != m {
			a.enqueue(c)
		}
	}
	a.zips = nil
}

// follow queues what mod, the .mod of m, requires. As the go command loads a
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
	l := a.seen[m]
	if l.state.open() || l.depth >= maxDepth {
		return
	}
	l.followed = true
	a.seen[m] = l
	if len(a.seen) > maxCandidates {
		clear(a.seen)
	}
	pruned := file.Go != nil && version.Compare("go"+file.Go.Version, "go1.17") >= 0
	read := l.state == certain || l.state == requested && !pruned
	for _, r := range file.Require[:min(len(file.Require), maxRequires)] {
		if protocol.Canonical(r.Mod) {
			a.require(r.Mod, l.depth+1, read)
		}
	}
}

// require queues a version that a followed one requires; read says that the client
// certainly reads it. The caller holds the lock.
func (a *prefetcher) require(m module.Version, depth int, read bool) {
	l, known := a.seen[m]
	switch {
	case known && (l.state == certain || !read):
		return
	case !read && a.credit == 0:
		a.seen[m] = link{state: noted, depth: depth}
		return
	case !read:
		a.credit--
		a.seen[m] = link{state: guessed, depth: depth}
	case known && l.depth == 0:
		a.seen[m] = link{state: certain} // and so is what it requires
	default:
		a.seen[m] = link{state: certain, depth: depth}
	}
	a.enqueue(candidate{m, false})
}

// enqueue queues c. The caller holds the lock.
func (a *prefetcher) enqueue(c candidate) {
	if a.closed || len(a.queue) >= maxCandidates {
		return
	}
	a.queue = append(a.queue, c)
	a.start()
}

// start sees to it that there are workers for what is queued and may be fetched. The
// caller holds the lock.
func (a *prefetcher) start() {
	if !a.active || a.closed {
		return
	}
	for n := min(len(a.queue), a.budget()); n > 0 && a.workers < a.slots; n-- {
		a.workers++
		a.running.Go(a.work)
	}
}

// work fetches candidates until there are none left, or no more may be fetched.
func (a *prefetcher) work() {
	for {
		c, ok := a.next()
		if !ok {
			return
		}
		fetched, ok := a.load(c)
		if !fetched {
			a.giveBack()
		}
		if !ok || c.zip || !a.unread(c.module) {
			continue
		}
		// It was held, or was a guess when it came.
		if mod, err := a.read(c.module); err == nil {
			a.follow(c.module, mod)
		}
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
	if len(a.queue) == 0 || a.budget() <= 0 {
		a.workers--
		return candidate{}, false
	}
	a.fetches++
	c := a.queue[0]
	a.queue = a.queue[1:]
	return c, true
}

// giveBack notes that a candidate did not have to be fetched.
func (a *prefetcher) giveBack() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fetches = max(a.fetches-1, 0) // a reset may have come in between
}

// unread reports whether what a version requires was not followed yet, and may be.
func (a *prefetcher) unread(m module.Version) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := a.seen[m]
	return !l.state.open() && !l.followed
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
