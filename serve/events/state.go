package events

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/mod/module"
)

// state is what a follower keeps in a file.
type state struct {
	Epoch  string `json:"epoch"`
	Cursor int64  `json:"cursor"`
	ID     string `json:"id,omitempty"` // of the follower, for the source's list
	// Removed are the versions that are removed or hidden because of an event, MODULE@VERSION.
	Removed []string `json:"removed,omitempty"`
	// Anew says that a reset came, and not yet all that followed it.
	Anew bool `json:"anew,omitempty"`
	// More says that there are others, which the store knows.
	More bool `json:"more,omitempty"`

	removed map[module.Version]struct{} // the same
}

// Limits of the state.
const (
	saveInterval = time.Second
	maxState     = 8 << 20 // bytes
	maxRemoved   = 10_000
)

// load reads the state. One that can't be read is as good as none: the feed begins anew.
func (f *Follower) load() {
	f.state.removed = map[module.Version]struct{}{}
	if f.opts.State == "" {
		return
	}
	data, err := readState(f.opts.State)
	if err == nil {
		err = f.state.parse(data)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.opts.Logger.Warn("the state of the follower can't be read: the upstream's events are read from the beginning", "file", f.opts.State, "error", err)
	}
}

func readState(name string) ([]byte, error) {
	r, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, maxState))
}

func (s *state) parse(data []byte) error {
	read := state{removed: map[module.Version]struct{}{}}
	err := json.Unmarshal(data, &read)
	if err == nil && (read.Cursor < 0 || len(read.Epoch) > 64) {
		err = errors.New("it has no cursor of a feed")
	}
	if err != nil {
		return err
	}
	for _, text := range read.Removed {
		path, version, _ := strings.Cut(text, "@")
		if module.Check(path, version) == nil && len(read.removed) < maxRemoved {
			read.removed[module.Version{Path: path, Version: version}] = struct{}{}
		}
	}
	read.Removed = nil
	*s = read
	return nil
}

// note keeps in mind that a version is removed or hidden because of an event, or no longer.
func (f *Follower) note(m module.Version, removed bool) {
	if _, known := f.state.removed[m]; known == removed {
		return
	}
	f.behind = true
	switch {
	case !removed:
		delete(f.state.removed, m)
	case len(f.state.removed) < maxRemoved:
		f.state.removed[m] = struct{}{}
	default:
		f.state.More = true
	}
}

// save writes the state. It is not synced: with an older one, events are read again, which
// changes nothing.
func (f *Follower) save() {
	if f.opts.State == "" || !f.behind {
		return
	}
	f.saved = time.Now()
	out := state{Epoch: f.state.Epoch, Cursor: f.state.Cursor, ID: f.state.ID, Anew: f.state.Anew, More: f.state.More}
	for m := range f.state.removed {
		out.Removed = append(out.Removed, m.Path+"@"+m.Version)
	}
	data, err := json.Marshal(out)
	if err == nil {
		err = os.WriteFile(f.opts.State+".tmp", append(data, '\n'), 0o666)
	}
	if err == nil {
		err = os.Rename(f.opts.State+".tmp", f.opts.State)
	}
	if err != nil {
		f.once("the state of the follower can't be written", "file", f.opts.State, "error", err)
		return
	}
	f.behind = false
}
