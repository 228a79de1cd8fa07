package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
)

// Whatever a source sends, a block is bounded, and what is taken for an event is valid.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte(": epoch x\n\nid: 5\nevent: removed\ndata: {\"seq\":5,\"kind\":\"removed\",\"module\":\"a.test/m\",\"version\":\"v1.0.0\"}\n\nid: 6\n\n"))
	f.Add([]byte("data: {\ndata: }\r\n\r\n\n\n:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		lines := 0
		in := newBlocks(bytes.NewReader(data), func() { lines++ })
		for {
			one, err := in.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return
			}
			if len(one.data) > maxBlock || one.id < 0 || len(one.epoch) > 64 {
				t.Fatalf("%+v", one)
			}
			var e Event
			if json.Unmarshal(one.data, &e) == nil && e.check() == nil && e.Kind != Reset && e.Module == "" {
				t.Fatalf("%+v", e)
			}
		}
		if n := bytes.Count(data, []byte("\n")); lines != n {
			t.Fatalf("%d lines of %d", lines, n)
		}
	})
}

// Whatever a file has, it is refused or is a feed that can be written and read again.
func FuzzFile(f *testing.F) {
	line, _ := appendLine(nil, header{"e", 1, 1})
	more, _ := appendLine(line, Event{Seq: 2, Kind: Removed, Module: "a.test/m", Version: "v1.0.0"})
	f.Add(line)
	f.Add(more)
	f.Add(append(more, "0000"...))
	f.Fuzz(func(t *testing.T, data []byte) {
		w, err := parseFile(data)
		if err != nil {
			return
		}
		again, err := appendLine(nil, header{w.epoch, w.born, w.floor})
		last := int64(0)
		for _, list := range [][]Event{w.standing, w.events} {
			for _, e := range list {
				if e.Seq <= last {
					t.Fatalf("%d after %d", e.Seq, last)
				}
				last = e.Seq
				if err == nil {
					again, err = appendLine(again, e)
				}
			}
		}
		if err == nil {
			_, err = parseFile(again)
		}
		if err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"epoch":"e","cursor":5,"removed":["a.test/m@v1.0.0","x"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var s state
		if s.parse(data) == nil && (s.Cursor < 0 || s.Removed != nil || len(s.removed) > maxRemoved) {
			t.Fatalf("%+v", s)
		}
	})
}
