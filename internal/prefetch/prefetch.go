// Package prefetch predicts which module files a go command will request next, and
// fetches them while it is busy with the last ones. A go command requests mostly one
// file after the other, so a cold build waits for the sum of all the round trips.
//
// A .mod is followed by those that it requires, as the go command reads them (see
// [Prefetcher.Follow]). The .info of a version whose .mod was requested is followed by
// its zip, once a client has requested a first zip: "go mod download" reads the module
// graph, then each .info, then each zip, and "go list -m all" does the same without the
// zips.
//
// Prefetching begins when a client follows a requirement, so a client that asks for one
// version causes no other fetch. What clients request goes first, because there are
// fewer prefetch slots than connections. How much is prefetched is in proportion to
// what clients request (see [Prefetcher.Requested]).
package prefetch

import (
	"go/version"
	"sync"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/protocol"
)

// Prefetcher fetches the files that clients are about to request. It is safe for
// concurrent use. A nil *Prefetcher does nothing. Make one with [New].
type Prefetcher struct {
	slots int // fetches at once
	load  func(Candidate) (fetched, ok bool)
	read  func(module.Version) ([]byte, error)

	mu            sync.Mutex
	queue         []Candidate
	zips          []Candidate // wait until a client requests a first zip
	active        bool        // a client follows requirements; otherwise nothing is fetched
	zipsRequested bool
	workers       int
	closed        bool
	running       sync.WaitGroup
	seen          map[module.Version]link // recent candidates
	modRequested  map[module.Version]bool
	nameBytes     int       // of all names that were added since the last forget
	credit        int       // how many more guesses may be made, see Follow
	proved        int       // how many guesses came true
	requests      int       // versions that clients requested
	fetches       int       // candidates that were fetched, or are being fetched
	asked         time.Time // when a client last requested something that was not held
}

// link says how the prefetcher came upon a version.
type link struct {
	state    state
	depth    int  // number of requirements between a client's request and it; zero: a client requested it
	followed bool // its requirements are known
}

// state is what is known about a version.
type state uint8

const (
	requested state = iota // a client requested it
	leaf                   // a client requested it after a guess, perhaps without its requirements
	certain                // a module without pruning leads to it, so clients read it and all that it leads to
	guessed                // a client may request it or not
	noted                  // the same, but there was no credit to fetch it
)

// open reports whether it is a guess that no client has requested yet.
func (s state) open() bool { return s == guessed || s == noted }

// Candidate is a file of a version that clients may request next.
type Candidate struct {
	Module module.Version
	Zip    bool // its zip, otherwise its .info and .mod
}

const (
	// idle is how long after a client's last miss its candidates are still of use.
	idle = 10 * time.Second
	// maxCandidates bounds what is queued, and what is remembered.
	maxCandidates = 8192
	// maxNameBytes bounds the names of all of them together.
	maxNameBytes = 4 << 20
	// maxFollowed is the size in bytes of the largest .mod that is parsed.
	maxFollowed = 256 << 10
	// maxRequires bounds how many requirements of one .mod are followed.
	maxRequires = 2048
	// maxDepth bounds how far requirements are followed from what was requested.
	maxDepth = 64
	// firstCredit bounds the open guesses before one came true, and maxCredit those at
	// any time. Each guess that comes true makes room for another, and every
	// provedMore of them for one more, so few are ever in vain.
	firstCredit, maxCredit, provedMore = 2, 64, 20
	// firstFetches and fetchesPerRequest bound what is prefetched: a client could make
	// up a module graph of any size.
	firstFetches, fetchesPerRequest = 8, 4
)

// New returns a prefetcher that fetches at most slots candidates at once. load makes
// the store hold a candidate; it reports whether that took a fetch, and whether the
// candidate is held now. read returns a .mod that is held.
func New(slots int, load func(Candidate) (fetched, ok bool), read func(module.Version) ([]byte, error)) *Prefetcher {
	return &Prefetcher{
		slots:        slots,
		load:         load,
		read:         read,
		seen:         make(map[module.Version]link),
		modRequested: make(map[module.Version]bool),
		credit:       firstCredit,
	}
}

// budget returns how many more candidates may be fetched until clients request more
// versions. The caller holds the lock.
func (p *Prefetcher) budget() int { return firstFetches + fetchesPerRequest*p.requests - p.fetches }

// Requested notes that a client requests a file, which may be held or not. For each
// version that clients request, a few candidates may be fetched.
func (p *Prefetcher) Requested(m module.Version, kind protocol.Kind, held bool) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	quiet := now.Sub(p.asked) > idle
	if held && quiet {
		return // a warm server
	}
	if quiet {
		p.reset()
	}
	if !held {
		p.asked = now
	}
	if l, ok := p.seen[m]; ok && l.depth > 0 {
		p.predicted(m, l, kind)
	}
	switch kind {
	case protocol.Mod:
		p.requestedMod(m)
	case protocol.Info:
		if p.active && p.modRequested[m] {
			delete(p.modRequested, m)
			p.addZip(m)
		}
	case protocol.Zip:
		if p.active && !p.zipsRequested {
			p.startZips(m)
		}
	}
}

// reset forgets clients that have gone. The caller holds the lock.
func (p *Prefetcher) reset() {
	p.active, p.zipsRequested = false, false
	p.credit, p.proved, p.requests, p.fetches = firstCredit, 0, 0, 0
	p.forget()
}

// forget drops all candidates and what is known about them. The caller holds the lock.
func (p *Prefetcher) forget() {
	p.queue, p.zips, p.nameBytes = nil, nil, 0
	clear(p.seen)
	clear(p.modRequested)
}

// count counts a name that is added next. If all names together become too long, count
// forgets the others. The caller holds the lock.
func (p *Prefetcher) count(m module.Version) {
	n := len(m.Path) + len(m.Version)
	if p.nameBytes+n > maxNameBytes {
		p.forget()
	}
	p.nameBytes += n
}

// requestedMod notes that a client requests a .mod. The caller holds the lock.
func (p *Prefetcher) requestedMod(m module.Version) {
	if len(p.modRequested) > maxCandidates {
		clear(p.modRequested)
	}
	p.count(m)
	p.modRequested[m] = true
	if _, known := p.seen[m]; !known {
		p.seen[m] = link{}
		p.requests++
		p.start()
	}
}

// predicted notes that a client requests a file of a candidate. The caller holds
// the lock.
func (p *Prefetcher) predicted(m module.Version, l link, kind protocol.Kind) {
	p.requests++
	p.active = p.active || kind == protocol.Mod
	if l.state == guessed {
		p.proved++
		p.credit = min(p.credit+1, maxCredit)
		if p.proved%provedMore == 0 {
			p.credit = min(p.credit+1, maxCredit)
		}
	}
	if l.state.open() && p.credit > 0 {
		p.enqueue(Candidate{m, false}) // to follow its requirements
	}
	if l.depth = 0; l.state.open() {
		l.state = leaf
	}
	p.seen[m] = l
	p.start()
}

// addZip queues a zip as soon as clients request some. The caller holds the lock.
func (p *Prefetcher) addZip(m module.Version) {
	switch {
	case p.zipsRequested:
		p.enqueue(Candidate{m, true})
	case len(p.zips) < maxCandidates:
		p.count(m)
		p.zips = append(p.zips, Candidate{m, true})
	}
}

// startZips queues the zips that clients will request after the first, that of m. The
// caller holds the lock.
func (p *Prefetcher) startZips(m module.Version) {
	p.zipsRequested = true
	for _, c := range p.zips {
		if c.Module != m {
			p.enqueue(c)
		}
	}
	p.zips = nil
}

// Follow queues the requirements in mod, the .mod of m. The go command reads everything
// that a module without pruning (before go 1.17) leads to. It reads on below other
// modules only sometimes: their requirements are guesses, which cost credit. A guess is
// followed only after a client has requested it, and then by guesses again, because the
// client may have read that .mod alone. See readModGraph in cmd/go/internal/modload.
func (p *Prefetcher) Follow(m module.Version, mod []byte) {
	if p == nil || len(mod) > maxFollowed {
		return
	}
	file, err := modfile.ParseLax("go.mod", mod, nil)
	if err != nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.seen[m]
	if l.state.open() || l.depth >= maxDepth {
		return
	}
	l.followed = true
	p.seen[m] = l
	if len(p.seen) > maxCandidates {
		clear(p.seen)
	}
	pruned := file.Go != nil && version.Compare("go"+file.Go.Version, "go1.17") >= 0
	read := l.state == certain || l.state == requested && !pruned
	for _, r := range file.Require[:min(len(file.Require), maxRequires)] {
		if protocol.Canonical(r.Mod) && len(r.Mod.Path)+len(r.Mod.Version) <= protocol.MaxPath {
			p.require(r.Mod, l.depth+1, read)
		}
	}
}

// require queues a version that a followed one requires; read says that clients read it
// for certain. The caller holds the lock.
func (p *Prefetcher) require(m module.Version, depth int, read bool) {
	l, known := p.seen[m]
	if !known {
		p.count(m)
	}
	switch {
	case known && (l.state == certain || !read):
		return
	case !read && p.credit == 0:
		p.seen[m] = link{state: noted, depth: depth}
		return
	case !read:
		p.credit--
		p.seen[m] = link{state: guessed, depth: depth}
	case known && l.depth == 0:
		p.seen[m] = link{state: certain} // and so is what it requires
	default:
		p.seen[m] = link{state: certain, depth: depth}
	}
	p.enqueue(Candidate{m, false})
}

// enqueue queues c. The caller holds the lock.
func (p *Prefetcher) enqueue(c Candidate) {
	if p.closed || len(p.queue) >= maxCandidates {
		return
	}
	p.queue = append(p.queue, c)
	p.start()
}

// start starts workers for the candidates that may be fetched. The caller holds the
// lock.
func (p *Prefetcher) start() {
	if !p.active || p.closed {
		return
	}
	for n := min(len(p.queue), p.budget()); n > 0 && p.workers < p.slots; n-- {
		p.workers++
		p.running.Go(p.work)
	}
}

// work fetches candidates until none are left, or no more may be fetched.
func (p *Prefetcher) work() {
	for {
		c, ok := p.next()
		if !ok {
			return
		}
		fetched, ok := p.load(c)
		if !fetched {
			p.giveBack()
		}
		if !ok || c.Zip || !p.unread(c.Module) {
			continue
		}
		// It was held, or a guess when it was fetched.
		if mod, err := p.read(c.Module); err == nil {
			p.Follow(c.Module, mod)
		}
	}
}

// next takes the first candidate, or ends the worker. It drops the candidates of
// clients that have gone.
func (p *Prefetcher) next() (Candidate, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.asked) > idle {
		p.queue = nil
	}
	if len(p.queue) == 0 || p.budget() <= 0 {
		p.workers--
		return Candidate{}, false
	}
	p.fetches++
	c := p.queue[0]
	p.queue = p.queue[1:]
	return c, true
}

// giveBack notes that a candidate did not have to be fetched.
func (p *Prefetcher) giveBack() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fetches = max(p.fetches-1, 0) // a reset may have come in between
}

// unread reports whether the requirements of a version may be followed and were not.
func (p *Prefetcher) unread(m module.Version) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.seen[m]
	return !l.state.open() && !l.followed
}

// Stop drops the queue and waits for the fetches that are running.
func (p *Prefetcher) Stop() {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.closed, p.queue = true, nil
	p.mu.Unlock()
	p.running.Wait()
}
