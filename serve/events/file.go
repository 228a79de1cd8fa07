package events

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/durable"
	"github.com/athens-go/athens/internal/flock"
)

// file is the file of a feed: a header and an event a line, each with its checksum.
//
//	1f2e3d4c {"epoch":"…","born":1796000000000000,"floor":1796000000000000}
//	5b6a7988 {"seq":1796000000000001,"kind":"recorded",…}
//
// Only the feed's writer uses it after openFile.
type file struct {
	dir  string
	most int64 // bytes beside marks that are in force, after which it is written anew
	lock *os.File

	open  *os.File
	size  int64
	dirty bool // a write has failed: it is written anew
}

// header is the first line.
type header struct {
	Epoch string `json:"epoch"`
	Born  int64  `json:"born"`
	Floor int64  `json:"floor"`
}

// Names in the folder of a feed.
const (
	feedName    = "feed"
	damagedName = "feed.damaged"
	lockName    = "lock"
	tmpPrefix   = "tmp-"
	inboxName   = "inbox"
)

// openFile opens the file of a feed, or makes it.
func openFile(dir string, o Options) (*file, window, error) {
	f := &file{dir: dir, most: 2*o.MaxBytes + 64<<10}
	kept, err := f.prepare(o)
	if err != nil {
		if f.lock != nil {
			err = errors.Join(err, f.lock.Close())
		}
		return nil, window{}, fmt.Errorf("events: open the feed in %s: %w", dir, err)
	}
	return f, kept, nil
}

func (f *file) prepare(o Options) (window, error) {
	if err := os.MkdirAll(filepath.Join(f.dir, inboxName), 0o777); err != nil {
		return window{}, err
	}
	var err error
	if f.lock, err = os.OpenFile(filepath.Join(f.dir, lockName), os.O_RDWR|os.O_CREATE, 0o666); err != nil {
		return window{}, err
	}
	if ok, err := flock.Try(f.lock); err != nil || !ok {
		if err == nil {
			err = errors.New("another process has it open")
		}
		return window{}, err
	}
	sweep(f.dir)
	kept, err := readFile(f.name(), 8*(f.most+maxMarkBytes)) // JSON can be longer than it was estimated
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			o.Logger.Error("the feed of events is damaged: a new epoch begins, and readers forget what they remember", "kept_as", filepath.Join(f.dir, damagedName), "error", err)
			if err := os.Rename(f.name(), filepath.Join(f.dir, damagedName)); err != nil {
				return window{}, err
			}
		}
		now := time.Now().UnixMicro()
		kept = window{epoch: strings.ToLower(rand.Text()), born: now, floor: now, marks: map[module.Version]int64{}}
	}
	kept = kept.with(nil, o)
	return kept, f.rewrite(kept) // without what was cut off
}

// sweep removes what a kill has left of a file that was being written.
func sweep(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, tmpPrefix+"*"))
	for _, name := range left {
		_ = os.Remove(name) // the next start tries again
	}
}

func (f *file) name() string { return filepath.Join(f.dir, feedName) }

// readFile reads the file of a feed, which has at most that many bytes.
func readFile(name string, most int64) (window, error) {
	r, err := os.Open(name)
	if err != nil {
		return window{}, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return window{}, err
	}
	if int64(len(data)) > most {
		return window{}, fmt.Errorf("it has more than %d bytes", most)
	}
	return parseFile(data)
}

// parseFile reads the content of the file. What is damaged at its end, with nothing valid
// behind it, was cut off by a crash.
func parseFile(data []byte) (window, error) {
	w := window{marks: map[module.Version]int64{}}
	var head header
	cut := false
	for line := range bytes.Lines(data) {
		text, ok := checked(line)
		switch {
		case w.epoch == "":
			if !ok || json.Unmarshal(text, &head) != nil || head.Epoch == "" || head.Born <= 0 || head.Floor < head.Born {
				return w, errors.New("its first line is no header")
			}
			w.epoch, w.born, w.floor = head.Epoch, head.Born, head.Floor
			continue
		case !ok:
			cut = true
			continue
		case cut:
			return w, errors.New("a line in the middle is damaged")
		}
		if err := w.load(text); err != nil {
			return w, err
		}
	}
	if w.epoch == "" {
		return w, errors.New("it is empty")
	}
	return w, nil
}

// load adds an event that was read from the file.
func (w *window) load(text []byte) error {
	var e Event
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	if err := e.check(); err != nil || e.Kind == Reset {
		return fmt.Errorf("an event is invalid: %.200s: %w", text, err)
	}
	last := int64(0)
	switch {
	case len(w.events) > 0:
		last = w.events[len(w.events)-1].Seq
	case len(w.standing) > 0:
		last = w.standing[len(w.standing)-1].Seq
	}
	if e.Seq <= last {
		return fmt.Errorf("event %d comes after event %d", e.Seq, last)
	}
	switch {
	case e.Seq > w.floor:
		w.add(e)
	case e.Kind == Removed || e.Kind == Hidden:
		w.mark(e)
		w.standing = append(w.standing, e)
		w.markBytes += e.size()
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// checked returns what is behind the checksum of a whole line, if that is right.
func checked(line []byte) (text []byte, ok bool) {
	text, whole := bytes.CutSuffix(line, []byte("\n"))
	if !whole || len(text) < 9 || text[8] != ' ' {
		return nil, false
	}
	sum, text := string(text[:8]), text[9:]
	return text, sum == fmt.Sprintf("%08x", crc32.Checksum(text, castagnoli))
}

// appendLine appends v as a line.
func appendLine(to []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return to, err
	}
	return fmt.Appendf(to, "%08x %s\n", crc32.Checksum(text, castagnoli), text), nil
}

// append adds events to the file, which then has what is kept. Synced says that they are on
// the medium on return; anew, that the file must be written anew.
func (f *file) append(events []Event, kept window, synced, anew bool) error {
	var lines []byte
	var err error
	for _, e := range events {
		if lines, err = appendLine(lines, e); err != nil {
			return err
		}
	}
	if anew || f.dirty || f.open == nil || f.size+int64(len(lines)) > f.most+kept.markBytes {
		err = f.rewrite(kept)
	} else {
		_, err = f.open.Write(lines)
		f.size += int64(len(lines))
		if err == nil && synced {
			err = f.open.Sync()
		}
	}
	f.dirty = err != nil
	return err
}

// rewrite writes the file anew.
func (f *file) rewrite(kept window) error {
	data, err := appendLine(nil, header{kept.epoch, kept.born, kept.floor})
	for _, list := range [][]Event{kept.standing, kept.events} {
		for _, e := range list {
			if err == nil {
				data, err = appendLine(data, e)
			}
		}
	}
	if err == nil {
		err = durable.Replace(durable.OS{}, f.dir, tmpPrefix, f.name(), data)
	}
	if err != nil {
		return err
	}
	opened, err := os.OpenFile(f.name(), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if f.open != nil {
		_ = f.open.Close() // it is no longer the feed
	}
	f.open, f.size = opened, int64(len(data))
	return nil
}

// close puts the file on the medium.
func (f *file) close() error {
	err := f.open.Sync()
	return errors.Join(err, f.open.Close(), f.lock.Close())
}
