package athens

import (
	"net/http"

	"golang.org/x/mod/module"
)

// locateZip sends a client who wants a whole zip to where the store keeps it, if
// the store can. A client who has some of it, or asks about it only, stays: the
// headers it needs for that are this server's, and providers sign no HEAD.
func (x *exchange) locateZip(m module.Version) bool {
	locator, ok := x.h.storage.(ZipLocator)
	if !ok || x.r.Method != http.MethodGet || conditional(x.r.Header) {
		return false
	}
	location, err := locator.ZipURL(x.r.Context(), m)
	if err != nil {
		x.h.opts.Logger.Warn("zip not located", "module", m.Path, "version", m.Version, "error", printable(err.Error(), maxErrorBody))
		return false
	}
	if location == "" || !x.leadsAway(location) {
		return false
	}
	x.outcome = OutcomeLocated
	x.sendTo(location)
	return true
}
