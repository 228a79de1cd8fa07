package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/athens-go/athens/storage"
)

// report writes a line for each problem, and now and then how far it is.
type report struct {
	stdout, stderr io.Writer

	versions, unrecorded, problems, mended int
	bytes                                  int64
	damaged                                bool
	failed                                 int
	last                                   time.Time // when progress was written
}

// progressEvery is how long nothing is said of the progress.
const progressEvery = 5 * time.Second

// add reports one version, or an error.
func (r *report) add(c storage.Checked, err error) {
	if err != nil {
		r.failed++
		fmt.Fprintln(r.stderr, "verify:", err)
	}
	if c.Module.Version != "" && err == nil {
		r.versions++
		if !c.Recorded {
			r.unrecorded++
		}
	}
	r.bytes += c.Bytes
	r.damaged = r.damaged || c.Damaged()
	for _, p := range c.Problems {
		r.problem(c, p)
	}
	if r.last.IsZero() {
		r.last = time.Now()
	}
	if time.Since(r.last) >= progressEvery {
		r.last = time.Now()
		fmt.Fprintf(r.stderr, "verify: %d versions so far, %d bytes, %d problems\n", r.versions, r.bytes, r.problems)
	}
}

// ledger reports what is wrong with the ledger, or with what it says of a version.
func (r *report) ledger(finding string, err error) {
	if err != nil {
		r.failed++
		fmt.Fprintln(r.stderr, "verify:", err)
	}
	if finding != "" {
		r.problems++
		r.damaged = true
		fmt.Fprintln(r.stdout, finding)
	}
}

func (r *report) problem(c storage.Checked, p storage.Problem) {
	line := fmt.Sprintf("%s: %s %s: %v", c.Module.Path, p.Kind, p.File, p.Err)
	if p.Moved != "" {
		line += "; moved to " + p.Moved
	}
	switch {
	case p.Repaired && !c.Recorded && c.Module.Version != "":
		line += "; repaired, without a record to compare with"
	case p.Repaired:
		line += "; repaired"
	case p.Failed != nil:
		line += "; not repaired: " + p.Failed.Error()
	}
	if p.Repaired {
		r.mended++
	}
	r.problems++
	fmt.Fprintln(r.stdout, line)
}

// end writes what it came to.
func (r *report) end() (damaged bool, err error) {
	fmt.Fprintf(r.stdout, "%d versions, %d of them without a record; %d problems, %d of them repaired\n", r.versions, r.unrecorded, r.problems, r.mended)
	if r.failed > 0 {
		err = errors.New("some files could not be checked")
	}
	return r.damaged, err
}
