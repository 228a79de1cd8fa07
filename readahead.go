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

// readAhead fetches what a go command is about to ask for, while it is busy with
// what it has: it asks mostly for one file after the other, so a cold build waits
// for the sum of all the distances.
//
// A .mod is followed by those that it requires, and the .info of a version whose
// .mod was asked for is by its zip: "go mod download" reads the whole module graph,
// then each .info, then each zip. It begins when a client is seen to follow a
// requirement, so that who asks for one version causes no other fetch. What was
// not asked for never goes before what was: it has fewer places than there are
// connections, and nobody waits for it who could do without.
type readAhead struct {
	h *Handler

	mu      sync.Mutex
	queue   []wish
	active  bool // a client follows requirements; else nobody works on the queue
	workers int
	closed  bool
	running sync.WaitGroup
	wished  map[module.Version]int // by depth; what was wished lately
	modded  map[module.Version]bool
	credit  int       // see follow
	asked   time.Time // when a client last wanted something that was not held
}

// wish is something to be fetched ahead.
type wish struct {
	module module.Version
	zip    bool
}

const (
	// aheadIdle is how long after a client's last miss its wishes are still
	// of use.
	aheadIdle = 10 * time.Second
	// maxWishes bounds what is queued, and what is remembered.
	maxWishes = 8192
	// maxFollowed is the size in bytes of the largest .mod that is parsed.
	maxFollowed = 256 << 10
	// maxRequires bounds what one .mod can make this server fetch.
	maxRequires = 2048
	// maxDepth bounds how far requirements are followed from what was asked.
	maxDepth = 64
	// firstCredit and maxCredit bound what is fetched on a weak guess before
	// one came true, and at all.
	firstCredit, maxCredit = 8, 64
)

func newReadAhead(h *Handler) *readAhead {
	return &readAhead{
		h:      h,
		wished: make(map[module.Version]int),
		modded: make(map[module.Version]bool),
		credit: firstCredit,
	}
}

// ask notes that a client asks for a file, held or not. A nil readAhead notes
// nothing.
func (a *readAhead) ask(m module.Version, f File, held bool) {
	if a == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if held && now.Sub(a.asked) > aheadIdle {
		return // a warm server
	}
	if now.Sub(a.asked) > aheadIdle {
		a.active, a.queue, a.credit = false, nil, firstCredit
		clear(a.wished)
		clear(a.modded)
	}
	if !held {
		a.asked = now
	}
	if depth, ok := a.wished[m]; ok && depth > 0 {
		a.wished[m] = 0 // wanted after all
		a.credit = min(a.credit+2, maxCredit)
		a.active = a.active || f == ModFile
		a.start()
	}
	switch f {
	case ModFile:
		if len(a.modded) > maxWishes {
			clear(a.modded)
		}
		a.modded[m] = true
		a.wished[m] = 0
	case InfoFile:
		if a.active && a.modded[m] {
			delete(a.modded, m)
			a.wish(wish{m, true})
		}
	}
}

// follow wishes for what mod, the .mod of m, requires. If m has a pruned module
// graph (go 1.17 and later), a client needs these .mods only sometimes: then each
// one costs credit, which comes back as clients ask for them.
func (a *readAhead) follow(m module.Version, mod []byte) {
	if a == nil || len(mod) > maxFollowed {
		return
	}
	file, err := modfile.ParseLax("go.mod", mod, nil)
	if err != nil {
		return
	}
	pruned := file.Go != nil && version.Compare("go"+file.Go.Version, "go1.17") >= 0
	a.mu.Lock()
	defer a.mu.Unlock()
	depth := a.wished[m] + 1
	if depth > maxDepth {
		return
	}
	if len(a.wished) > maxWishes {
		clear(a.wished)
	}
	for _, r := range file.Require[:min(len(file.Require), maxRequires)] {
		if _, ok := a.wished[r.Mod]; ok || !protocol.Canonical(r.Mod) {
			continue
		}
		if pruned {
			if a.credit == 0 {
				return
			}
			a.credit--
		}
		a.wished[r.Mod] = depth
		a.wish(wish{r.Mod, false})
	}
}

// wish queues w. The caller holds the lock.
func (a *readAhead) wish(w wish) {
	if a.closed || len(a.queue) >= maxWishes {
		return
	}
	a.queue = append(a.queue, w)
	a.start()
}

// start sees to it that there are workers for what is queued. The caller holds
// the lock.
func (a *readAhead) start() {
	if !a.active || a.closed {
		return
	}
	for n := len(a.queue); n > 0 && a.workers < a.h.opts.ReadAhead; n-- {
		a.workers++
		a.running.Go(a.work)
	}
}

// work fetches what is wished for until there is nothing left.
func (a *readAhead) work() {
	for {
		w, ok := a.next()
		if !ok {
			return
		}
		a.fetch(w)
	}
}

// next takes the first wish, or ends the worker. What a client that has gone
// would have asked for is dropped.
func (a *readAhead) next() (wish, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if time.Since(a.asked) > aheadIdle {
		a.queue = nil
	}
	if len(a.queue) == 0 {
		a.workers--
		return wish{}, false
	}
	w := a.queue[0]
	a.queue = a.queue[1:]
	return w, true
}

// fetch makes the store hold w, unless w is private or blocked: a .mod that
// anybody may have written must not make this server go there.
func (a *readAhead) fetch(w wish) {
	h, ctx := a.h, a.h.ctx
	defer func() {
		if v := recover(); v != nil { // of a hook or the store: there is no request to end
			h.logPanic(&flight.PanicError{Value: v, Stack: debug.Stack()})
		}
	}()
	if route := h.route(w.module); route.Private || route.Blocked != "" {
		return
	}
	src, err := h.sourceOf(w.module, false)
	if err != nil {
		return
	}
	if w.zip {
		if held, err := h.holds(ctx, w.module, ZipFile); !held && err == nil {
			_, _ = h.arriveZip(src, w.module, "", time.Now()).stored.Wait(ctx) // whoever asks gets the error
		}
		return
	}
	if held, err := h.holds(ctx, w.module, ModFile); err != nil {
		return
	} else if held {
		if mod, err := h.read(ctx, w.module, ModFile, h.opts.MaxMod); err == nil {
			a.follow(w.module, mod)
		}
		return
	}
	_, _ = h.arrive(src, w.module, "", time.Now(), InfoFile, ModFile).stored.Wait(ctx) // whoever asks gets the error
}

// stop drops what is queued and waits for the workers.
func (a *readAhead) stop() {
	if a == nil {
		return
	}
	a.mu.Lock()
	a.closed, a.queue = true, nil
	a.mu.Unlock()
	a.running.Wait()
}
