package metrics_test

import (
	"fmt"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/metrics"
	"github.com/athens-go/athens/storage"
)

func Example() {
	m := metrics.New()
	var options athens.Options
	m.Watch(&options)
	handler, err := athens.NewHandler(storage.NewMemory(), &options)
	if err != nil {
		log.Fatal(err)
	}
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/example.com/m/@latest", nil))

	page := httptest.NewRecorder()
	m.ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for line := range strings.Lines(page.Body.String()) {
		if strings.HasPrefix(line, "athens_requests_total") {
			fmt.Print(line)
		}
	}
	// Output:
	// athens_requests_total{file="latest",outcome="missing",source=""} 1
}
