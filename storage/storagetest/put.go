package storagetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/athens-go/athens"
	"golang.org/x/mod/module"
)

// putCases are about .info, .mod and the list of versions.
var putCases = []Case{
	{"missing", "what is not held is fs.ErrNotExist, and no versions are an empty list", alone(checkMissing)},
	{"put", "Put makes .info and .mod readable, and no zip", twice(checkPut)},
	{"put-copies", "what was given to Put may be changed afterwards", alone(checkPutCopies)},
	{"same-again", "a Put of the same changes nothing and returns nil; what was stored first stays", alone(checkSameAgain)},
	{"conflict-mod", "a Put with another .mod is a conflict and changes nothing", alone(checkConflict(athens.ModFile, func(s *Sample) {
		s.Mod = append(bytes.Clone(s.Mod), "// more\n"...)
	}))},
	{"conflict-mod-shorter", "a Put with a .mod cut short is a conflict and changes nothing", alone(checkConflict(athens.ModFile, func(s *Sample) {
		s.Mod = s.Mod[:len(s.Mod)-1]
	}))},
	{"conflict-time", "a Put with another Time is a conflict and changes nothing", alone(checkConflict(athens.InfoFile, func(s *Sample) {
		s.Info.Time = s.Info.Time.Add(time.Second)
	}))},
	{"raw", "an Info with Raw is stored byte for byte", twice(checkRaw)},
	{"raw-same", "a Put of an Info with Raw is the same again with any Time, unless its commit is another", alone(checkRawSame)},
	{"raw-invalid", "an Info whose Raw names another version, or is no JSON, is an InvalidError, and nothing is held", alone(checkRawInvalid)},
	{"conflict-version", "a Put whose .info names another version is a conflict and changes nothing", alone(checkConflict(athens.InfoFile, func(s *Sample) {
		s.Info.Version = "v1.2.4"
	}))},
	{"conflict-commit", "a Put with another Origin.Hash is a conflict and changes nothing", alone(checkConflict(athens.InfoFile, func(s *Sample) {
		s.Info.Origin.Hash = strings.Repeat("f", 40)
	}))},
	{"versions", "Versions lists what is held of that module alone, pseudo-versions included, in semantic version order", alone(checkVersions)},
	{"names", "paths and versions that differ in case or lie below each other are different", alone(checkNames)},
	{"object", "a Body can be sought and read in parts, beside others; its Size and ETag stay", alone(checkObject)},
	{"canceled", "a method whose context is done returns its error and has no effect", alone(checkCanceled)},
}

func checkMissing(ctx context.Context, st athens.Storage) error {
	s := ordinary()
	if err := missing(ctx, st, s.Module, athens.InfoFile, athens.ModFile, athens.ZipFile); err != nil {
		return err
	}
	if err := versions(ctx, st, s.Module.Path); err != nil {
		return err
	}
	if err := s.Put(ctx, st); err != nil {
		return err
	}
	for _, m := range []module.Version{
		{Path: s.Module.Path, Version: "v1.2.4"},
		{Path: "example.com/Some", Version: s.Module.Version},
		{Path: s.Module.Path + "/sub", Version: s.Module.Version},
	} {
		if err := missing(ctx, st, m, athens.InfoFile, athens.ModFile, athens.ZipFile); err != nil {
			return err
		}
	}
	return versions(ctx, st, "example.com/Some")
}

func checkPut(ctx context.Context, a, b athens.Storage) error {
	s := ordinary()
	if err := s.Put(ctx, a); err != nil {
		return err
	}
	for _, st := range []athens.Storage{a, b} {
		if err := s.Held(ctx, st); err != nil {
			return err
		}
		if err := missing(ctx, st, s.Module, athens.ZipFile); err != nil {
			return err
		}
	}
	return nil
}

func checkPutCopies(ctx context.Context, st athens.Storage) error {
	s, given := ordinary(), ordinary()
	if err := given.Put(ctx, st); err != nil {
		return err
	}
	for i := range given.Mod {
		given.Mod[i] = 'x'
	}
	given.Info.Time = time.Time{}
	given.Info.Origin.Hash = "changed"
	return s.Held(ctx, st)
}

func checkSameAgain(ctx context.Context, st athens.Storage) error {
	s := ordinary()
	if err := s.Put(ctx, st); err != nil {
		return err
	}
	first, err := read(ctx, st, s.Module, athens.InfoFile)
	if err != nil {
		return err
	}
	otherZone := *s.Info
	otherZone.Time = s.Info.Time.In(time.FixedZone("", 3600))
	noOrigin := *s.Info
	noOrigin.Origin = nil
	noHash := *s.Info
	noHash.Origin = &athens.Origin{VCS: "git", Ref: "refs/heads/main"}
	otherRef := *s.Info
	otherRef.Origin = &athens.Origin{VCS: "git", Hash: s.Info.Origin.Hash, Ref: "refs/tags/v1.2.3"}
	for _, info := range []*athens.Info{s.Info, &otherZone, &noOrigin, &noHash, &otherRef} {
		if err := st.Put(ctx, s.Module, info, s.Mod); err != nil {
			return fmt.Errorf("Put of the same, as %+v: %w", *info, err)
		}
		now, err := read(ctx, st, s.Module, athens.InfoFile)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, first) {
			return fmt.Errorf("Put of the same, as %+v, changed the .info from %s to %s", *info, first, now)
		}
	}
	if err := versions(ctx, st, s.Module.Path, s.Module.Version); err != nil {
		return err
	}
	return s.Held(ctx, st)
}

func checkConflict(f athens.File, change func(*Sample)) func(context.Context, athens.Storage) error {
	return func(ctx context.Context, st athens.Storage) error {
		s, other := ordinary(), ordinary()
		change(&other)
		if err := s.Put(ctx, st); err != nil {
			return err
		}
		if err := conflict(st.Put(ctx, s.Module, other.Info, other.Mod), s.Module, f); err != nil {
			return fmt.Errorf("Put of something else: %w", err)
		}
		return s.Held(ctx, st)
	}
}

func checkVersions(ctx context.Context, st athens.Storage) error {
	const path = "example.com/Some/mod"
	sorted := []string{
		"v0.0.0-20200101000000-abcdefabcdef",
		"v0.9.0",
		"v1.0.0-RC.2",
		"v1.0.0-rc.1",
		"v1.0.0-rc.10",
		"v1.0.0",
		"v1.2.0",
		"v1.10.0",
		"v1.10.1-0.20200101000000-abcdefabcdef",
		"v2.0.0+incompatible",
	}
	for _, i := range []int{7, 3, 0, 9, 1, 6, 2, 8, 5, 4} {
		if err := NewSample(path, sorted[i], "").Put(ctx, st); err != nil {
			return err
		}
	}
	for _, m := range []module.Version{
		{Path: path + "/v2", Version: "v2.1.0"},
		{Path: path + "/sub", Version: "v1.1.0"},
		{Path: path + "s", Version: "v1.3.0"},
		{Path: "example.com/Some", Version: "v1.4.0"},
	} {
		if err := NewSample(m.Path, m.Version, "").Put(ctx, st); err != nil {
			return err
		}
		if err := versions(ctx, st, m.Path, m.Version); err != nil {
			return err
		}
	}
	return versions(ctx, st, path, sorted...)
}

func checkNames(ctx context.Context, st athens.Storage) error {
	samples := []Sample{
		NewSample("example.com/Mod", "v1.0.0-RC1", "upper"),
		NewSample("example.com/mod", "v1.0.0-RC1", "path in lower case"),
		NewSample("example.com/Mod", "v1.0.0-rc1", "version in lower case"),
		NewSample("example.com/mod/sub", "v1.0.0-rc1", "below"),
		NewSample("example.com/a~b_c.d-e", "v1.0.0", "signs"),
	}
	for _, s := range samples {
		if err := s.Store(ctx, st); err != nil {
			return err
		}
	}
	for _, s := range samples {
		if err := s.Whole(ctx, st); err != nil {
			return err
		}
	}
	if err := versions(ctx, st, "example.com/mod", "v1.0.0-RC1"); err != nil {
		return err
	}
	return versions(ctx, st, "example.com/Mod", "v1.0.0-RC1", "v1.0.0-rc1")
}

func checkObject(ctx context.Context, st athens.Storage) error {
	s := ordinary()
	if err := s.Store(ctx, st); err != nil {
		return err
	}
	for f, want := range map[athens.File][]byte{athens.ModFile: s.Mod, athens.ZipFile: s.Zip} {
		a, err := st.Open(ctx, s.Module, f)
		if err != nil {
			return err
		}
		b, err := st.Open(ctx, s.Module, f)
		if err != nil {
			a.Body.Close()
			return err
		}
		err = checkBodies(a, b, want)
		if err := errors.Join(err, a.Body.Close(), b.Body.Close()); err != nil {
			return fmt.Errorf("the .%s: %w", f, err)
		}
	}
	return nil
}

// checkBodies reads two objects of the same file in turns.
func checkBodies(a, b *athens.Object, want []byte) error {
	if a.Size != int64(len(want)) {
		return fmt.Errorf("Size is %d, want %d", a.Size, len(want))
	}
	if a.ETag != b.ETag || !a.ModTime.Equal(b.ModTime) {
		return fmt.Errorf("ETag and ModTime are %s and %v, then %s and %v", a.ETag, a.ModTime, b.ETag, b.ModTime)
	}
	if e := a.ETag; e != "" && (len(e) < 2 || e[0] != '"' || e[len(e)-1] != '"') {
		return fmt.Errorf("ETag is %s, want a strong one with its quotes", e)
	}
	if end, err := a.Body.Seek(0, io.SeekEnd); err != nil || end != a.Size {
		return fmt.Errorf("Seek to the end: %d, %v, want %d", end, err, a.Size)
	}
	if n, err := a.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("Read at the end: %d, %v, want io.EOF", n, err)
	}
	if at, err := a.Body.Seek(5, io.SeekStart); err != nil || at != 5 {
		return fmt.Errorf("Seek to 5: %d, %v", at, err)
	}
	all, err := io.ReadAll(b.Body)
	if err != nil || !bytes.Equal(all, want) {
		return fmt.Errorf("a second body has %d bytes, %v, want the file's %d", len(all), err, len(want))
	}
	part := make([]byte, 4)
	if _, err := io.ReadFull(a.Body, part); err != nil || !bytes.Equal(part, want[5:9]) {
		return fmt.Errorf("bytes 5 to 9 are %q, %v, want %q", part, err, want[5:9])
	}
	if at, err := a.Body.Seek(-2, io.SeekCurrent); err != nil || at != 7 {
		return fmt.Errorf("Seek back by 2: %d, %v, want 7", at, err)
	}
	rest, err := io.ReadAll(a.Body)
	if err != nil || !bytes.Equal(rest, want[7:]) {
		return fmt.Errorf("from byte 7 there are %d bytes, %v, want %d", len(rest), err, len(want)-7)
	}
	return nil
}

func checkCanceled(ctx context.Context, st athens.Storage) error {
	done, cancel := context.WithCancel(ctx)
	cancel()
	s, held := ordinary(), NewSample("example.com/held", "v1.0.0", "")
	if err := held.Put(ctx, st); err != nil {
		return err
	}
	stage, err := st.Stage(ctx)
	if err != nil {
		return err
	}
	defer stage.Close()
	if _, err := stage.Write(held.Zip); err != nil {
		return err
	}
	_, openErr := st.Open(done, held.Module, athens.ModFile)
	_, versionsErr := st.Versions(done, held.Module.Path)
	_, stageErr := st.Stage(done)
	for name, err := range map[string]error{
		"Open":     openErr,
		"Versions": versionsErr,
		"Stage":    stageErr,
		"Put":      st.Put(done, s.Module, s.Info, s.Mod),
		"Commit":   stage.Commit(done, held.Module, held.H1),
	} {
		if !errors.Is(err, context.Canceled) {
			return fmt.Errorf("%s returned %v, want context.Canceled", name, err)
		}
	}
	if err := missing(ctx, st, s.Module, athens.InfoFile, athens.ModFile); err != nil {
		return err
	}
	if err := missing(ctx, st, held.Module, athens.ZipFile); err != nil {
		return err
	}
	if err := stage.Commit(ctx, held.Module, held.H1); err != nil {
		return fmt.Errorf("Commit after one that was canceled: %w", err)
	}
	return held.Whole(ctx, st)
}
