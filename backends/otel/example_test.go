package otel_test

import (
	"context"
	"fmt"
	"log"
	"net/http/httptest"

	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/otel"
	"github.com/athens-go/athens/storage"
)

func Example() {
	spans := tracetest.NewInMemoryExporter() // in place of the exporter that the environment names
	telemetry, err := otel.Start(context.Background(), nil, &otel.Options{ServiceName: "athens-proxy", SpanExporter: spans})
	if err != nil {
		log.Fatal(err)
	}
	options := athens.Options{Fetcher: source{}}
	telemetry.Watch(&options)
	handler, err := athens.NewHandler(storage.NewMemory(), &options)
	if err != nil {
		log.Fatal(err)
	}
	telemetry.Requests(handler).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/example.com/m/@v/list", nil))
	for _, span := range spans.GetSpans() {
		fmt.Println(span.Name, span.Parent.IsValid())
	}
	// Output:
	// athens list true
	// GET list false
}
