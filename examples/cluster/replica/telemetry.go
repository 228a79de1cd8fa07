package main

import (
	"context"
	"os"
	"slices"

	"github.com/athens-go/athens/backends/otel"
	"github.com/athens-go/athens/examples/internal/server"
	"github.com/athens-go/athens/serve/metrics"
)

// sends reports whether a variable of OpenTelemetry says where traces or metrics go. Without
// one, nothing is sent to a collector that may not be there.
func sends() bool {
	return slices.ContainsFunc([]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
		"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER",
	}, func(name string) bool { return os.Getenv(name) != "" })
}

// useTelemetry has parts send traces and metrics where the environment says.
func useTelemetry(ctx context.Context, parts *server.Parts) error {
	if !sends() {
		return nil
	}
	return parts.UseTelemetry(func(m *metrics.Metrics) (server.Telemetry, error) {
		return otel.Start(ctx, m, &otel.Options{ServiceName: "athens-replica"})
	})
}
