package warm

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/internal/modcheck"
	"github.com/athens-go/athens/internal/protocol"
)

// resolve finds the versions that a query asks for.
func (r *run) resolve(q query) {
	m := module.Version{Path: q.path, Version: q.version}
	var path string
	var err error
	switch q.version {
	case "":
		path, err = protocol.ListPath(q.path)
	case "latest":
		path, err = protocol.LatestPath(q.path)
	default:
		path, err = protocol.FilePath(m, "info")
	}
	var data []byte
	if err == nil {
		err = r.try(func() (err error) {
			data, err = r.target.Get(r.ctx, path)
			return err
		})
	}
	if err != nil {
		r.fail(m, "query", err)
		return
	}
	if q.version == "" {
		for v := range strings.FieldsSeq(string(data)) {
			if m := (module.Version{Path: q.path, Version: v}); protocol.Canonical(m) {
				r.want(m, true)
			}
		}
		return
	}
	var info athens.Info
	err = json.Unmarshal(data, &info)
	m.Version = info.Version
	if err == nil && !protocol.Canonical(m) {
		err = fmt.Errorf("the answer names the version %.100q", info.Version)
	}
	if err != nil {
		r.fail(m, "query", err)
		return
	}
	r.want(m, true)
}

// verify compares what is held with the hashes of go.sum.
func (r *run) verify(m module.Version, zip bool, filled Filled) error {
	if want := r.plan.sums[module.Version{Path: m.Path, Version: m.Version + "/go.mod"}]; want != "" {
		data, err := r.mod(m)
		if err != nil {
			return err
		}
		got, err := modcheck.ModHash(data)
		if err == nil && got != want {
			err = fmt.Errorf("its go.mod has the hash %s; go.sum says %s", got, want)
		}
		if err != nil {
			return final(m, err)
		}
	}
	if want := r.plan.sums[m]; zip && want != "" && filled.ZipHash != "" && filled.ZipHash != want {
		return final(m, fmt.Errorf("its zip has the hash %s; go.sum says %s", filled.ZipHash, want))
	}
	return nil
}

// final is an error that another try does not change.
func final(m module.Version, err error) error {
	return &athens.InvalidError{Path: m.Path, Version: m.Version, Err: err}
}

// record has the target hold what the checksum database says of a version, and compares the hash
// of its go.mod with that.
func (r *run) record(m module.Version) {
	path, err := protocol.FilePath(m, "mod")
	if err != nil {
		r.fail(m, "sum", err)
		return
	}
	version := strings.TrimSuffix(strings.Replace(path, "/@v/", "@", 1), ".mod")
	var data []byte
	err = r.try(func() (err error) {
		data, err = r.target.Get(r.ctx, "sumdb/"+r.opts.SumDB+"/lookup/"+version)
		return err
	})
	if blocked, ok := errors.AsType[*athens.BlockedError](err); ok && !blocked.Removed {
		r.mu.Lock()
		r.sum.Private++
		r.mu.Unlock()
		return
	}
	var text []byte
	if err == nil {
		_, text, _, err = tlog.ParseRecord(data)
	}
	var mod []byte
	if err == nil {
		mod, err = r.mod(m)
	}
	var h1 string
	if err == nil {
		h1, err = modcheck.ModHash(mod)
	}
	if err == nil {
		err = modcheck.Vouched(strings.Split(string(text), "\n"), module.Version{Path: m.Path, Version: m.Version + "/go.mod"}, h1)
	}
	if err != nil {
		r.fail(m, "sum", err)
		return
	}
	r.mu.Lock()
	r.sum.Records++
	r.mu.Unlock()
}
