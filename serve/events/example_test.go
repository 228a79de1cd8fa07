package events_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve/events"
	"github.com/athens-go/athens/storage"
)

// A registry tells what changes; here an operator removes a version.
func Example() {
	dir, err := os.MkdirTemp("", "events")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	feed, err := events.New(filepath.Join(dir, events.Folder), nil)
	if err != nil {
		panic(err)
	}
	defer feed.Close()
	options := &athens.Options{}
	feed.Watch(options)
	handler, err := athens.NewHandler(storage.NewMemory(), options)
	if err != nil {
		panic(err)
	}
	root := feed.Front(handler)

	feed.Add(context.Background(), events.Removed, module.Version{Path: "corp.example/x", Version: "v1.2.3"}, "leaks a key")

	w := httptest.NewRecorder()
	root.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events?after=0", http.NoBody))
	_, event, _ := strings.Cut(w.Body.String(), `"kind":`)
	event, _, _ = strings.Cut(event, `,"time"`)
	fmt.Println(event)
	// Output: "removed","module":"corp.example/x","version":"v1.2.3","reason":"leaks a key"
}
