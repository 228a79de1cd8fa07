package server

import (
	"context"
	"net/http"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/metrics"
)

// Telemetry sends traces and metrics elsewhere, as backends/otel does.
type Telemetry interface {
	// Watch adds spans to what a handler does.
	Watch(*athens.Options)
	// Requests begins a span for each request, or goes on with the client's.
	Requests(next http.Handler) http.Handler
	// Header takes a trace on to the upstream.
	Header(ctx context.Context) http.Header
	// Shutdown sends what is left.
	Shutdown(ctx context.Context) error
}

// UseTelemetry sends what start's Telemetry is told of, from the first request to the last.
// It comes before the upstream.
func (p *Parts) UseTelemetry(start func(*metrics.Metrics) (Telemetry, error)) error {
	if p.metrics == nil {
		p.metrics = metrics.New()
		p.metrics.Watch(&p.Options)
	}
	telemetry, err := start(p.metrics)
	if err != nil {
		return err
	}
	telemetry.Watch(&p.Options)
	p.telemetry = telemetry
	p.closers = append(p.closers, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := telemetry.Shutdown(ctx); err != nil {
			p.Log.Warn("the last traces and metrics were not sent", "error", err)
		}
	})
	return nil
}

// traced puts the telemetry, if there is one, around all of a server.
func (p *Parts) traced(root http.Handler) http.Handler {
	if p.telemetry == nil {
		return root
	}
	return p.telemetry.Requests(root)
}

// upstreamHeader returns what a request to the upstream also carries, nil for nothing.
func (p *Parts) upstreamHeader() func(context.Context) http.Header {
	if p.telemetry == nil {
		return nil
	}
	return p.telemetry.Header
}
