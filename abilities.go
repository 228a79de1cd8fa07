package athens

import (
	"context"
	"iter"

	"golang.org/x/mod/module"
)

// Optional abilities: small interfaces that an implementation of a contract may
// also satisfy, and that who wants the ability looks for.

// Catalogue is an optional ability of a [Storage]: to name all that it holds.
type Catalogue interface {
	// All walks over the held versions, those that Versions lists. The
	// versions of a module follow one another in semantic version order; the
	// modules come in no order. What is held all the while is named once; what
	// is stored or removed meanwhile may be named. The walk keeps no more in
	// memory than one module's versions. What can't be read is an error, with
	// the module's path if that is known, after which the walk goes on with
	// the rest where it can. Once ctx is done its error is the last.
	All(ctx context.Context) iter.Seq2[module.Version, error]
}

// SumDBUpstream is an optional ability of an [Upstream]: to pass on requests to
// a checksum database.
type SumDBUpstream interface {
	// SumDB returns the body for sumdb/NAME/…, given as protocolPath: the
	// part of the URL after the upstream's base. If the upstream does not
	// carry that database, the error is a [*MissingError].
	SumDB(ctx context.Context, protocolPath string) ([]byte, error)
}
