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

// absent is a definite "there is no such thing", on its way to become an
// [*athens.MissingError] that names the path and the query.
type absent struct{ error }

func (e absent) Unwrap() error { return e.error }

func absentf(format string, args ...any) error { return absent{fmt.Errorf(format, args...)} }

// broken is content that can't be right, on its way to become an
// [*athens.InvalidError].
type broken struct{ error }

func (e broken) Unwrap() error { return e.error }

func brokenf(format string, args ...any) error { return broken{fmt.Errorf(format, args...)} }

// limited turns an error of the budget for work into one of this package's.
func limited(err error) error {
	var busy *budget.BusyError
	switch {
	case errors.As(err, new(broken)):
		return err
	case errors.As(err, new(*budget.LimitError)), errors.As(err, new(*gitpack.Error)), errors.As(err, new(*gitattr.Error)):
		return broken{err}
	case errors.As(err, &busy):
		return &athens.UnavailableError{Source: "this server", RetryAfter: retryAfter, Err: busy}
	}
	return err
}

// errNoFile says that a commit's tree has no such file.
var errNoFile = errors.New("no such file")

// down says that a source, named without credentials, could not be asked.
func down(source string, err error) error {
	err = limited(err)
	var u *athens.UnavailableError
	if errors.As(err, &u) || errors.As(err, new(absent)) || errors.As(err, new(broken)) {
		return err
	}
	return &athens.UnavailableError{Source: source, Err: netguard.WithoutAddresses(err)}
}

// outward turns an error of this package into one of the contract's.
func outward(path, query string, err error) error {
	var (
		missing absent
		bad     broken
		outage  *athens.UnavailableError
		refused netguard.Forbidden
		policy  forbidden
	)
	switch err = limited(err); {
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
