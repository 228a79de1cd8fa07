package athens

import (
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/modcheck"
)

// opRetractions is the question for what a version's .mod retracts. It never changes.
const opRetractions = "retractions"

// retractions returns what the latest of some versions retracts, as the go command
// reads it: retractions that were withdrawn later do not count, and those of the latest
// version itself do. Fetch says that its .mod may be got from the source; what is not to
// be had retracts nothing.
func (x *exchange) retractions(versions []string, fetch bool) modcheck.Retractions {
	m := module.Version{Path: x.req.Module.Path, Version: latestOf(versions)}
	if m.Version == "" {
		return nil
	}
	q := question{opRetractions, m.Path, m.Version}
	if a := x.h.answers.get(q); a.good() {
		return a.retracted
	}
	ctx := x.r.Context()
	held, err := x.h.holds(ctx, m, ModFile)
	if err == nil && !held && fetch {
		if src, srcErr := x.h.sourceOf(m, x.route); srcErr == nil {
			err = x.h.fetchInfoMod(ctx, src, m)
		}
	}
	mod, readErr := x.h.read(ctx, m, ModFile, x.h.opts.MaxModBytes)
	if err != nil || readErr != nil {
		return nil
	}
	a := answer{retracted: modcheck.Retracted(mod), at: time.Now()}
	x.h.answers.put(q, a)
	return a.retracted
}

// latestOf returns the version that says what is retracted: "latest" as if nothing was,
// which is "+incompatible" only if all are.
func latestOf(versions []string) string {
	compatible := slices.DeleteFunc(slices.Clone(versions), func(v string) bool { return strings.HasSuffix(v, "+incompatible") })
	if len(compatible) > 0 {
		versions = compatible
	}
	return highest(versions, nil)
}
