package rules

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/flock"
)

// memory is since when versions are known, on disk and in memory. It is two files of
// records, to which records are only added: when the recent one has half of what may be
// kept, it takes the place of the previous one, and what is used of that is copied back.
// A record that is lost makes a version young again, never old. Several processes may
// share the folder.
type memory struct {
	dir string // empty: nothing is on disk
	max int    // records in both
	log *slog.Logger

	mu               sync.Mutex
	recent, previous map[key]moment
	file             *os.File // the recent one; nil: there is no folder, or it can't be written
	read             int64    // how much of it was read or written, in bytes
	failed           bool     // and the log has it
}

// key is what a record is about.
type key [16]byte

// moment is a time in seconds since epoch, and whether a cooldown was in force then.
type moment uint32

// epoch is before any time that is noted.
const epoch = 946_684_800 // 2000-01-01

// recordSize is the size of a key and a moment in bytes.
const recordSize = 16 + 4

const (
	recentFile   = "recent"
	previousFile = "previous"
	lockFile     = "lock"
)

func momentOf(t time.Time, cooled bool) moment {
	m := moment(min(max(t.Unix()-epoch, 0), 1<<31-1)) << 1
	if cooled {
		m |= 1
	}
	return m
}

func (m moment) time() time.Time { return time.Unix(int64(m>>1)+epoch, 0) }
func (m moment) cooled() bool    { return m&1 == 1 }

// before reports whether m counts rather than other, for one key: the earlier one does,
// and of one second the one that says that a cooldown was in force.
func (m moment) before(other moment) bool {
	if m>>1 == other>>1 {
		return m.cooled() && !other.cooled()
	}
	return m < other
}

// keyOf returns the key of a version for one kind of moment.
func keyOf(kind byte, m module.Version) (k key) {
	var few [160]byte
	text := append(few[:0], kind)
	text = append(append(append(text, m.Path...), '@'), m.Version...)
	sum := sha256.Sum256(text)
	copy(k[:], sum[:])
	return k
}

// openMemory opens the memory in a folder, which is made. If that can't be written, the
// log says so, and what is noted is lost with the process.
func openMemory(dir string, most int, log *slog.Logger) *memory {
	m := &memory{dir: dir, max: most, log: log, recent: make(map[key]moment), previous: make(map[key]moment)}
	if dir == "" {
		return m
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		m.fail(err)
		return m
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refresh()
	return m
}

// fail notes that the folder can't be used. The caller holds the lock, if others know m.
func (m *memory) fail(err error) {
	if !m.failed {
		m.failed = true
		m.log.Warn("could not store when versions were first seen", "error", err)
	}
}

// refresh reads what other processes have added. The caller holds the lock.
func (m *memory) refresh() {
	if m.dir == "" {
		return
	}
	name := filepath.Join(m.dir, recentFile)
	at, err := os.Stat(name)
	if m.file != nil && err == nil {
		if mine, statErr := m.file.Stat(); statErr == nil && os.SameFile(at, mine) {
			if at.Size() > m.read {
				m.load(m.file, m.recent)
			}
			return
		}
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		m.fail(err)
		if file, err = os.Open(name); err != nil {
			return
		}
	}
	if m.file != nil {
		_ = m.file.Close() // what was written to it is read from where it was moved
	}
	m.file, m.read = file, 0
	m.recent, m.previous = make(map[key]moment), make(map[key]moment)
	if before, err := os.Open(filepath.Join(m.dir, previousFile)); err == nil {
		m.load(before, m.previous)
		_ = before.Close()
		m.read = 0
	}
	m.load(file, m.recent)
	if at, err := file.Stat(); err == nil && at.Size()%recordSize != 0 { // a process died while it wrote
		_, _ = file.Write(make([]byte, recordSize-at.Size()%recordSize))
	}
}

// load reads the records behind m.read into a map. Of two for one key the one that is
// before the other counts.
func (m *memory) load(file *os.File, into map[key]moment) {
	data, err := io.ReadAll(io.NewSectionReader(file, m.read, int64(m.max)*recordSize))
	if err != nil {
		m.fail(err)
	}
	for len(data) >= recordSize {
		k, at := key(data[:16]), moment(binary.LittleEndian.Uint32(data[16:recordSize]))
		if old, ok := into[k]; !ok || at.before(old) {
			into[k] = at
		}
		data = data[recordSize:]
		m.read += recordSize
	}
}

// get returns since when something is known.
func (m *memory) get(k key) (moment, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, ok := m.lookUp(k); ok {
		return at, true
	}
	m.refresh()
	return m.lookUp(k)
}

// lookUp is get without a look at what others have added. The caller holds the lock.
func (m *memory) lookUp(k key) (moment, bool) {
	at, ok := m.recent[k]
	if !ok {
		if at, ok = m.previous[k]; ok {
			m.write(map[key]moment{k: at})
		}
	}
	return at, ok
}

// note adds what is not known yet. What is known to be in the future was noted by a
// wrong clock and is known since now.
func (m *memory) note(now time.Time, all map[key]moment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.refresh()
	for k := range all {
		if at, ok := m.lookUp(k); ok && !at.time().After(now) {
			delete(all, k)
		}
	}
	m.write(all)
}

// replace adds a record that is before the one that is there.
func (m *memory) replace(k key, at moment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.write(map[key]moment{k: at})
}

// write adds records. The caller holds the lock.
func (m *memory) write(all map[key]moment) {
	if len(all) == 0 {
		return
	}
	data := make([]byte, 0, len(all)*recordSize)
	for k, at := range all {
		if old, ok := m.recent[k]; !ok || at.before(old) {
			m.recent[k] = at
		}
		data = binary.LittleEndian.AppendUint32(append(data, k[:]...), uint32(at))
	}
	if m.file != nil {
		n, err := m.file.Write(data)
		if err != nil {
			m.fail(err)
		}
		if n > 0 && n%recordSize != 0 {
			_, _ = m.file.Write(make([]byte, recordSize-n%recordSize)) // or the next would be read askew
		}
	}
	if len(m.recent) > m.max/2 {
		m.turn()
	}
}

// turn makes the recent records the previous ones. The caller holds the lock.
func (m *memory) turn() {
	if m.file == nil {
		m.previous, m.recent = m.recent, make(map[key]moment)
		return
	}
	lock, err := os.OpenFile(filepath.Join(m.dir, lockFile), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		m.fail(err)
		m.previous, m.recent = m.recent, make(map[key]moment)
		return
	}
	defer lock.Close()
	if mine, err := flock.Try(lock); err != nil || !mine {
		return // another process does
	}
	name := filepath.Join(m.dir, recentFile)
	at, err := os.Stat(name)
	own, ownErr := m.file.Stat()
	if err == nil && ownErr == nil && os.SameFile(at, own) {
		if err := os.Rename(name, filepath.Join(m.dir, previousFile)); err != nil {
			m.fail(err)
			return
		}
	}
	m.refresh()
}

func (m *memory) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.file == nil {
		return nil
	}
	err := m.file.Close()
	m.file, m.dir = nil, ""
	if errors.Is(err, os.ErrClosed) {
		err = nil
	}
	return err
}
