// Package otel hands what a handler does to OpenTelemetry: the metrics of package
// serve/metrics, and a trace of each request through fetches, store writes and fills, and on
// to the upstream. The environment's OTEL_* variables say where to.
//
//	m := metrics.New()
//	telemetry, err := otel.Start(ctx, m, &otel.Options{ServiceName: "athens-proxy"})
//	defer telemetry.Shutdown(ctx)
//	m.Watch(&options)
//	telemetry.Watch(&options)                                            // before NewHandler
//	up, err := redirect.New(url, &redirect.Options{Header: telemetry.Header})
//	root := telemetry.Requests(handler)                                  // around all of the server
//
// A trace that a client or another server began (traceparent) goes on here, and Header
// takes it on to an upstream that does the same. A fetch that several requests wait for
// belongs to the trace of the first.
//
// These variables count, as OpenTelemetry specifies them:
//
//   - OTEL_TRACES_EXPORTER and OTEL_METRICS_EXPORTER: otlp, which is the default, or none;
//   - OTEL_EXPORTER_OTLP_ENDPOINT, _HEADERS, _TIMEOUT, _CERTIFICATE and the like, also for
//     traces or metrics alone; the protocol is http/protobuf;
//   - OTEL_METRIC_EXPORT_INTERVAL, OTEL_BSP_*, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME,
//     OTEL_RESOURCE_ATTRIBUTES, OTEL_SDK_DISABLED.
//
// Spans carry module paths, also private ones; metrics do not. Error texts in spans are
// those of [athens.Event], so they may hold local paths: send them to a collector of your own.
package otel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/athens-go/athens/serve/metrics"
)

// scope names what this package reports.
const scope = "github.com/athens-go/athens/backends/otel"

// Options configures [Start]. Its zero value does what the environment says.
type Options struct {
	// ServiceName names the service where OTEL_SERVICE_NAME does not. Empty means
	// "athens".
	ServiceName string
	// SpanExporter receives spans in place of the one that OTEL_TRACES_EXPORTER names,
	// as they end. If it is nil, that one does.
	SpanExporter sdktrace.SpanExporter
	// MetricReader reads metrics in place of what OTEL_METRICS_EXPORTER names. It
	// needs the producer of [Producer]. If it is nil, that one does.
	MetricReader metric.Reader
}

// Telemetry sends traces and metrics until it is shut down. Its methods may be called from
// many goroutines at the same time.
type Telemetry struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
	shutdown   []func(context.Context) error
}

// Start begins to send what m counts, which may be nil for no metrics, and the traces of
// what the methods of the Telemetry are mounted on. A nil opts means the zero [Options].
func Start(ctx context.Context, m *metrics.Metrics, opts *Options) (*Telemetry, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.ServiceName == "" {
		o.ServiceName = "athens"
	}
	t := &Telemetry{propagator: propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", o.ServiceName)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(),
		resource.WithFromEnv()) // the last one counts
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("otel: describe this process: %w", err)
	}
	if err := t.startTraces(ctx, o, about); err != nil {
		return nil, err
	}
	if err := t.startMetrics(ctx, m, o, about); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	return t, nil
}

// exporter returns which exporter the environment names for a signal: otlp or none.
func exporter(signal string) (string, error) {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return "none", nil
	}
	variable := "OTEL_" + signal + "_EXPORTER"
	switch name := os.Getenv(variable); name {
	case "", "otlp":
	case "none":
		return "none", nil
	default:
		return "", fmt.Errorf("otel: %s must be otlp or none, not %q", variable, name)
	}
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_" + signal + "_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch protocol := os.Getenv(variable); protocol {
		case "":
			continue
		case "http/protobuf":
		default:
			return "", fmt.Errorf("otel: %s must be http/protobuf, not %q", variable, protocol)
		}
		break
	}
	return "otlp", nil
}

// startTraces sets the tracer.
func (t *Telemetry) startTraces(ctx context.Context, o Options, about *resource.Resource) error {
	provider := []sdktrace.TracerProviderOption{sdktrace.WithResource(about)}
	if o.SpanExporter != nil {
		provider = append(provider, sdktrace.WithSyncer(o.SpanExporter))
	} else {
		name, err := exporter("TRACES")
		if err != nil {
			return err
		}
		if name == "none" {
			provider = append(provider, sdktrace.WithSampler(sdktrace.NeverSample()))
		} else {
			sender, err := otlptracehttp.New(ctx)
			if err != nil {
				return fmt.Errorf("otel: send traces: %w", err)
			}
			provider = append(provider, sdktrace.WithBatcher(sender))
		}
	}
	p := sdktrace.NewTracerProvider(provider...)
	t.tracer = p.Tracer(scope)
	t.shutdown = append(t.shutdown, p.Shutdown)
	return nil
}

// startMetrics begins to read m.
func (t *Telemetry) startMetrics(ctx context.Context, m *metrics.Metrics, o Options, about *resource.Resource) error {
	reader := o.MetricReader
	if reader == nil {
		name, err := exporter("METRICS")
		if err != nil || name == "none" || m == nil {
			return err
		}
		sender, err := otlpmetrichttp.New(ctx)
		if err != nil {
			return fmt.Errorf("otel: send metrics: %w", err)
		}
		reader = metric.NewPeriodicReader(sender, metric.WithProducer(Producer(m)))
	}
	p := metric.NewMeterProvider(metric.WithReader(reader), metric.WithResource(about))
	t.shutdown = append(t.shutdown, p.Shutdown)
	return nil
}

// Shutdown sends what is left. It is called when the server has stopped.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var all error
	for _, end := range t.shutdown {
		all = errors.Join(all, end(ctx))
	}
	return all
}
