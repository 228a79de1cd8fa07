package fetcher

import (
	"context"
	"errors"
	"fmt"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/fetcher/internal/budget"
	"github.com/athens-go/athens/fetcher/internal/gitattr"
	"github.com/athens-go/athens/fetcher/internal/gitpack"
	"github.com/athens-go/athens/internal/netguard"
)

// notFound is a definite "there is no such thing". toAthensError turns it into an
// [*athens.MissingError] that names the path and the query.
type notFound struct{ error }

func (e notFound) Unwrap() error { return e.error }

func notFoundf(format string, args ...any) error { return notFound{fmt.Errorf(format, args...)} }

// invalid is content that can't be right. toAthensError turns it into an
// [*athens.InvalidError].
type invalid struct{ error }

func (e invalid) Unwrap() error { return e.error }

func invalidf(format string, args ...any) error { return invalid{fmt.Errorf(format, args...)} }

// fromBudget turns an error of the work budget, or of a package that uses it, into
// one of this package's.
func fromBudget(err error) error {
	var busy *budget.BusyError
	switch {
	case errors.As(err, new(invalid)):
		return err
	case errors.As(err, new(*budget.LimitError)), errors.As(err, new(*gitpack.Error)), errors.As(err, new(*gitattr.Error)):
		return invalid{err}
	case errors.As(err, &busy):
		return &athens.UnavailableError{Source: "this server", RetryAfter: retryAfter, Err: busy}
	}
	return err
}

// errNoFile means that a commit's tree has no such file.
var errNoFile = errors.New("no such file")

// unavailable returns err as an outage of a source, which is named without
// credentials. Errors that are more definite stay as they are.
func unavailable(source string, err error) error {
	err = fromBudget(err)
	var u *athens.UnavailableError
	if errors.As(err, &u) || errors.As(err, new(notFound)) || errors.As(err, new(invalid)) {
		return err
	}
	return &athens.UnavailableError{Source: source, Err: netguard.WithoutAddresses(err)}
}

// toAthensError turns an error of this package into one of package athens.
func toAthensError(path, query string, err error) error {
	var (
		missing notFound
		bad     invalid
		outage  *athens.UnavailableError
		refused netguard.Forbidden
		policy  blocked
	)
	switch err = fromBudget(err); {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return &athens.BlockedError{Path: path, Version: query, Reason: refused.Error()}
	case errors.As(err, &policy):
		return &athens.BlockedError{Path: path, Version: query, Reason: policy.Error()}
	case errors.As(err, &missing):
		return &athens.MissingError{Path: path, Query: query, Err: missing.error}
	case errors.As(err, &bad):
		return &athens.InvalidError{Path: path, Version: query, Err: bad.error}
	case errors.As(err, &outage), errors.Is(err, context.Canceled):
		return err
	}
	return &athens.UnavailableError{Source: "version control of " + path, Err: netguard.WithoutAddresses(err)}
}
