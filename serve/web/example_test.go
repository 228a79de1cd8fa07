package web_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve"
	"github.com/athens-go/athens/serve/web"
	"github.com/athens-go/athens/storage"
)

func Example() {
	store := storage.NewMemory()
	site, err := web.New(store, &web.Options{Name: "our Go modules"})
	if err != nil {
		log.Fatal(err)
	}
	options := athens.Options{Private: "none"}
	site.Watch(&options)
	handler, err := athens.NewHandler(store, &options)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/go/", http.StripPrefix("/go", serve.Front(handler, nil, site)))

	page := httptest.NewRecorder()
	request := httptest.NewRequest("GET", "https://modules.example/go/", nil)
	request.Header.Set("Accept", "text/html")
	mux.ServeHTTP(page, request)
	_, line, _ := strings.Cut(page.Body.String(), `<code id="paste">`)
	line, _, _ = strings.Cut(line, "</code>")
	fmt.Println(page.Code, line)
	// Output:
	// 200 export GOPROXY=https://modules.example/go GONOPROXY=none GONOSUMDB=
}
