package web

import (
	"context"

	"github.com/athens-go/athens/fill"
)

// fillStatus asks the scheduler, if it can tell, what it has.
func (q *request) fillStatus() (fill.Status, bool) {
	switch f := q.watched.Load().Fills.(type) {
	case interface{ Status() fill.Status }:
		return f.Status(), true
	case interface {
		Status(ctx context.Context) (fill.Status, error)
	}:
		s, err := f.Status(q.ctx)
		return s, err == nil
	}
	return fill.Status{}, false
}
