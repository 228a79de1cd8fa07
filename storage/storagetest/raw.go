package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/athens-go/athens"
)

// sent returns the sample as a server sends it: with a line's end in its .info, a field
// that Info does not have, and a time in another zone.
func sent() Sample {
	s := ordinary()
	s.Info.Raw = fmt.Appendf(nil, "{\n\t\"Version\": %q,\n\t\"Time\": %q, \"Later\": {\"a\": [1]},\n\t\"Origin\": {\"Hash\": %q}\n}\n",
		s.Info.Version, s.Info.Time.In(time.FixedZone("", 3600)).Format(time.RFC3339), s.Info.Origin.Hash)
	s.Info.Origin = &athens.Origin{Hash: s.Info.Origin.Hash}
	return s
}

func wantRaw(ctx context.Context, st athens.Storage, s Sample) error {
	data, err := read(ctx, st, s.Module, athens.InfoFile)
	if err == nil && !bytes.Equal(data, s.Info.Raw) {
		err = fmt.Errorf("the .info of %s is %q, want %q", s.Module, data, s.Info.Raw)
	}
	return err
}

func checkRaw(ctx context.Context, a, b athens.Storage) error {
	s, given := sent(), sent()
	if err := given.Put(ctx, a); err != nil {
		return err
	}
	clear(given.Info.Raw)
	for _, st := range []athens.Storage{a, b} {
		if err := wantRaw(ctx, st, s); err != nil {
			return err
		}
		if err := s.Held(ctx, st); err != nil {
			return err
		}
	}
	// Made of a commit, it is the same, if its time is.
	if err := ordinary().Put(ctx, b); err != nil {
		return err
	}
	return wantRaw(ctx, b, s)
}

func checkRawSame(ctx context.Context, st athens.Storage) error {
	s := sent()
	if err := s.Put(ctx, st); err != nil {
		return err
	}
	other := sent()
	other.Info.Time = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)
	other.Info.Raw = fmt.Appendf(nil, `{"Version":%q,"Time":"2001-01-01T00:00:00Z"}`, s.Info.Version)
	for _, origin := range []*athens.Origin{nil, {URL: "https://other.test/m"}, {Hash: s.Info.Origin.Hash, Ref: "refs/heads/x", TagSum: "t1:x", Subdir: "x"}} {
		other.Info.Origin = origin
		if err := other.Put(ctx, st); err != nil {
			return fmt.Errorf("Put with another Time, sent by a server: %w", err)
		}
	}
	other.Info.Origin = &athens.Origin{Hash: strings.Repeat("f", 40)}
	if err := conflict(st.Put(ctx, s.Module, other.Info, other.Mod), s.Module, athens.InfoFile); err != nil {
		return fmt.Errorf("Put of another commit: %w", err)
	}
	return wantRaw(ctx, st, s)
}

func checkRawInvalid(ctx context.Context, st athens.Storage) error {
	for _, raw := range []string{"", "<html>", `{"Version":"v1.2.4"}`, `{"Time":"2001-01-01T00:00:00Z"}`} {
		s := ordinary()
		s.Info.Raw = []byte(raw)
		var invalid *athens.InvalidError
		if err := st.Put(ctx, s.Module, s.Info, s.Mod); !errors.As(err, &invalid) {
			return fmt.Errorf("Put with the .info %q is %v, want an InvalidError", raw, err)
		}
		if err := missing(ctx, st, s.Module, athens.InfoFile, athens.ModFile); err != nil {
			return err
		}
	}
	return nil
}
