package auth_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/serve"
	"github.com/athens-go/athens/serve/auth"
	"github.com/athens-go/athens/storage"
)

func ExampleFile_Require() {
	dir, err := os.MkdirTemp("", "tokens-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	secret, line, err := auth.NewToken("ci", "corp.example.com", auth.Read)
	if err != nil {
		panic(err)
	}
	file := filepath.Join(dir, "tokens.txt")
	if err := os.WriteFile(file, []byte(line+"\n"), 0o600); err != nil {
		panic(err)
	}
	tokens, err := auth.Open(file, nil)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go tokens.Run(ctx) // reads the file again when it changes

	handler, err := athens.NewHandler(storage.NewMemory(), nil)
	if err != nil {
		panic(err)
	}
	root := tokens.Require(serve.Front(handler, serve.NewHealth(nil), nil))
	for _, login := range []string{"", "Bearer " + secret} {
		for _, path := range []string{"/healthz", "/corp.example.com/m/@v/list", "/other.example.com/m/@v/list"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Header.Set("Authorization", login)
			w := httptest.NewRecorder()
			root.ServeHTTP(w, r)
			fmt.Println(w.Code, path)
		}
	}
	// Output:
	// 200 /healthz
	// 401 /corp.example.com/m/@v/list
	// 401 /other.example.com/m/@v/list
	// 200 /healthz
	// 404 /corp.example.com/m/@v/list
	// 403 /other.example.com/m/@v/list
}
