package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/durable"
)

// Limits of the inbox.
const (
	inboxInterval = 250 * time.Millisecond
	inboxAtOnce   = 1000 // files in a look
	maxNotice     = 4 << 10
	noticeSuffix  = ".event"
)

// Notify tells the feed in the folder dir, which another process has open or will open, of an
// event. If there is no feed in dir, it does nothing. On return the event is on the medium; a
// server that runs tells it within a second. It is for tools that change a store beside its
// server.
func Notify(dir string, kind string, m module.Version, reason string) error {
	e := Event{Kind: kind, Module: m.Path, Version: m.Version, Reason: reason, Time: time.Now().UTC()}
	if err := e.check(); err != nil || kind == Reset {
		return fmt.Errorf("events: %s of %s is not a valid event: %w", kind, m, err)
	}
	inbox := filepath.Join(dir, inboxName)
	if _, err := os.Stat(inbox); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	data, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("events: %w", err)
	}
	f, tmp, err := durable.Create(durable.OS{}, inbox, tmpPrefix)
	if err == nil {
		name := fmt.Sprintf("%020d-%s%s", time.Now().UnixNano(), strings.TrimPrefix(filepath.Base(tmp), tmpPrefix), noticeSuffix)
		err = durable.Write(durable.OS{}, f, tmp, filepath.Join(inbox, name), data)
	}
	if err != nil {
		return fmt.Errorf("events: tell the feed in %s: %w", dir, err)
	}
	return nil
}

// readInbox tells what lies in the inbox, in the order in which it came there.
func (f *Feed) readInbox(ctx context.Context) {
	inbox := filepath.Join(f.file.dir, inboxName)
	entries, err := os.ReadDir(inbox)
	if err != nil || len(entries) == 0 {
		return
	}
	told := 0
	for _, entry := range entries {
		if ctx.Err() != nil || told == inboxAtOnce {
			return
		}
		if !strings.HasSuffix(entry.Name(), noticeSuffix) {
			continue
		}
		told++
		name := filepath.Join(inbox, entry.Name())
		e, err := readNotice(name)
		if err != nil {
			f.opts.Logger.Error("a file in the inbox of the feed is not a valid event", "file", name, "error", err)
		} else {
			f.Add(ctx, e.Kind, e.version(), e.Reason)
		}
		if ctx.Err() == nil { // otherwise the next start tells it again, which is harmless
			_ = os.Remove(name) // or it is told again
		}
	}
}

func readNotice(name string) (e Event, err error) {
	f, err := os.Open(name)
	if err != nil {
		return e, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxNotice))
	if err == nil {
		err = json.Unmarshal(data, &e)
	}
	if err == nil {
		err = e.check()
	}
	return e, err
}
