package storage

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/durable"
	"golang.org/x/mod/module"
)

// version checks one version, and does about it what the options say.
func (v *verifier) version(m module.Version) (Checked, error) {
	base, err := v.base(m)
	if err != nil {
		return Checked{Module: m}, fault("verify", m, err)
	}
	c := &versionCheck{verifier: v, m: m, base: base}
	if err = c.run(); err == nil && len(c.problems) > 0 {
		c, err = v.again(c)
	}
	if err == nil && v.opts.Record {
		err = c.record()
	}
	if err == nil && c.repairable() && v.opts.Source != nil {
		if source := v.opts.Source(m); source != nil {
			err = c.repair(source)
		}
	}
	if err != nil {
		err = fault("verify", m, err)
	}
	recorded := c.bound && c.problem(recordExt) == nil
	return Checked{Module: m, Recorded: recorded, Bytes: c.read, Problems: c.problems}, err
}

// again checks what seemed wrong once more under the module's lock, for a server
// may have been writing, and moves what is damaged. Nobody waits for the pace of
// the run then.
func (v *verifier) again(was *versionCheck) (*versionCheck, error) {
	c := v.unpaced(was)
	err := v.locked(c.m.Path, func(n int) error {
		err := c.run()
		if err == nil && v.writes() && len(c.problems) > 0 {
			err = c.quarantine(n)
		}
		return err
	})
	return c, err
}

// unpaced returns a new check that goes on counting.
func (v *verifier) unpaced(was *versionCheck) *versionCheck {
	quick := *v
	quick.pace = &pace{}
	return &versionCheck{verifier: &quick, m: was.m, base: was.base, read: was.read}
}

// record adds to the record what it lacks of a version that is sound, which is seen
// to once more under the module's lock.
func (c *versionCheck) record() error {
	if len(c.problems) > 0 || bytes.Equal(c.want.with(c.held).encode(c.m), c.want.encode(c.m)) {
		return nil
	}
	now := c.unpaced(c)
	err := c.locked(c.m.Path, func(n int) error {
		err := now.run()
		if err != nil || len(now.problems) > 0 || now.held.mod == "" {
			return err
		}
		written, err := c.addRecord(n, c.m, c.base, now.held)
		if err == nil && written {
			err = durable.SyncDir(c.fs, filepath.Dir(c.base))
			c.bound = true
		}
		return err
	})
	c.read = now.read
	return err
}

// repairable reports whether a source can repair something.
func (c *versionCheck) repairable() bool {
	checked := Checked{Problems: c.problems}
	return checked.Damaged()
}

// quarantine moves what is damaged, for a caller that has lock n. First it writes
// down what the version is known to be, so that it is that or a conflict ever after.
// In the end it restores what the record can restore.
func (c *versionCheck) quarantine(n int) (err error) {
	if c.problem(ext(athens.ModFile)) != nil { // the list will have to change
		note := c.note(n, c.m.Path)
		defer func() { c.dropNote(note, err) }()
		if err := c.writeNote(note, c.m.Path); err != nil {
			return err
		}
	}
	rec := c.want.with(c.held)
	if rec.zip == "" {
		rec.zip = c.said
	}
	damaged := slices.ContainsFunc(c.problems, func(p Problem) bool {
		return p.Kind == ProblemDamaged && p.File != filepath.Base(c.base)+recordExt
	})
	if bad := c.problem(recordExt); bad != nil {
		if err := c.move(bad); err != nil {
			return err
		}
	}
	if p := c.problem(ext(athens.ZipFile)); p != nil {
		rec.raw = "" // it may come back packed in another way
	}
	if data := rec.encode(c.m); damaged && !bytes.Equal(data, c.want.encode(c.m)) {
		if err := c.writeFile(n, c.base+recordExt, data); err != nil {
			return err
		}
	}
	for i := range c.problems {
		if p := &c.problems[i]; p.Kind == ProblemDamaged && p.Moved == "" {
			if err := c.move(p); err != nil {
				return err
			}
		}
	}
	if err := c.restore(n, rec); err != nil {
		return err
	}
	if c.problem(ext(athens.ModFile)) == nil {
		return nil
	}
	written, err := c.writeList(n, c.m.Path, filepath.Dir(c.base))
	if err == nil && written {
		err = durable.SyncDir(c.fs, filepath.Dir(c.base))
	}
	return err
}

// restore writes what the record has of the version in full.
func (c *versionCheck) restore(n int, rec record) error {
	for _, file := range []struct {
		ext  string
		data []byte
	}{{ext(athens.InfoFile), c.want.info}, {hashExt, []byte(rec.zip)}} {
		p := c.problem(file.ext)
		if p == nil || len(file.data) == 0 {
			continue
		}
		if err := c.writeFile(n, c.base+file.ext, file.data); err != nil {
			return err
		}
		p.Repaired = true
	}
	return nil
}

// move moves a damaged file of the version to quarantine, where nothing has its
// name yet.
func (c *versionCheck) move(p *Problem) error {
	from := filepath.Join(filepath.Dir(c.base), p.File)
	below, err := filepath.Rel(c.dir, from)
	if err != nil {
		return err
	}
	to := filepath.Join(c.inside(badDir), below)
	if err := durable.MkdirAll(c.fs, c.dir, filepath.Dir(to)); err != nil {
		return err
	}
	free, err := c.free(to)
	if err != nil {
		return err
	}
	if err := durable.Publish(c.fs, from, free); err != nil {
		return err
	}
	if err := durable.SyncDir(c.fs, filepath.Dir(from)); err != nil {
		return err
	}
	c.known.Delete(c.m)
	if below, err = filepath.Rel(c.dir, free); err == nil {
		p.Moved = filepath.ToSlash(below)
	}
	return err
}

// free returns name, or name and a number, such that there is no such file. The
// module's lock keeps others from taking it.
func (c *versionCheck) free(name string) (string, error) {
	for n, candidate := 2, name; ; n++ {
		_, err := c.fs.Stat(candidate)
		if isAbsent(err) {
			return candidate, nil
		}
		if err != nil {
			return "", err
		}
		candidate = fmt.Sprintf("%s.%d", name, n)
	}
}
