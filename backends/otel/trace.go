package otel

import (
	"context"
	"net/http"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
)

// Requests returns a handler that begins a span for each request, or goes on with the one
// that its traceparent names, and calls next. It passes on the http.ResponseWriter of the
// server, so that the kernel still copies files. [Telemetry.Watch] ends the span with what
// became of the request.
func (t *Telemetry) Requests(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := t.propagator.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		ctx, span := t.tracer.Start(ctx, methodOf(r), trace.WithSpanKind(trace.SpanKindServer))
		defer span.End()
		if !span.IsRecording() && !span.SpanContext().IsValid() {
			next.ServeHTTP(w, r)
			return
		}
		ctx = withParent(ctx, span.SpanContext())
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// methodOf names the methods that the protocol has, as semantic conventions want it.
func methodOf(r *http.Request) string {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return r.Method
	}
	return "HTTP"
}

// Watch adds spans to the Trace and Observe of o, beside what is there: one for each
// operation on a source or the store, in the trace of the request or fill that caused it.
func (t *Telemetry) Watch(o *athens.Options) {
	observe, other := o.Observe, o.Trace
	o.Observe = func(e athens.Event) {
		if e.Op == athens.OpRequest {
			describe(trace.SpanFromContext(e.Request.Context()), &e)
		}
		if observe != nil {
			observe(e)
		}
	}
	o.Trace = func(ctx context.Context, op string, m module.Version) (context.Context, func(error)) {
		end := func(error) {}
		if other != nil {
			ctx, end = other(ctx, op, m)
		}
		ctx, span := t.operation(ctx, op, m)
		return ctx, func(err error) {
			if err != nil {
				span.SetStatus(codes.Error, err.Error())
				status, _ := athens.Status(err)
				span.SetAttributes(attribute.Int("athens.error.status", status))
			}
			span.End()
			end(err)
		}
	}
}

// operation begins the span of an operation.
func (t *Telemetry) operation(ctx context.Context, op string, m module.Version) (context.Context, trace.Span) {
	if parent, ok := athens.RequestInfoFrom(ctx).TraceParent.(trace.SpanContext); ok && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, parent)
	}
	ctx, span := t.tracer.Start(ctx, "athens "+op, trace.WithSpanKind(trace.SpanKindInternal), trace.WithAttributes(
		attribute.String("athens.op", op), attribute.String("athens.module", m.Path), attribute.String("athens.version", m.Version)))
	return withParent(ctx, span.SpanContext()), span
}

// withParent returns ctx with the span that fetches and fills of the request belong to.
func withParent(ctx context.Context, parent trace.SpanContext) context.Context {
	info := athens.RequestInfoFrom(ctx)
	info.TraceParent = parent
	return info.Context(ctx)
}

// describe writes what became of a request to its span.
func describe(span trace.Span, e *athens.Event) {
	if !span.IsRecording() {
		return
	}
	span.SetName(methodOf(e.Request) + " " + e.File)
	scheme := "http"
	if e.Request.TLS != nil {
		scheme = "https"
	}
	span.SetAttributes(
		attribute.String("http.request.method", strings.ReplaceAll(methodOf(e.Request), "HTTP", "_OTHER")),
		attribute.Int("http.response.status_code", e.Status),
		attribute.String("url.scheme", scheme),
		attribute.String("url.path", e.Request.URL.Path),
		attribute.String("client.address", e.Request.RemoteAddr),
		attribute.String("athens.module", e.Module.Path),
		attribute.String("athens.version", e.Module.Version),
		attribute.String("athens.file", e.File),
		attribute.String("athens.outcome", e.Outcome),
		attribute.String("athens.source", e.Source),
		attribute.Int64("http.response.body.size", e.Bytes),
	)
	if e.Status >= http.StatusInternalServerError && e.Err != nil {
		span.SetStatus(codes.Error, e.Err.Error())
	}
}

// Header returns the headers that take the trace of ctx on to an upstream, for
// redirect.Options.Header. Outside of a trace there are none.
func (t *Telemetry) Header(ctx context.Context) http.Header {
	if parent, ok := athens.RequestInfoFrom(ctx).TraceParent.(trace.SpanContext); ok && !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = trace.ContextWithSpanContext(ctx, parent)
	}
	header := make(http.Header)
	t.propagator.Inject(ctx, propagation.HeaderCarrier(header))
	return header
}
