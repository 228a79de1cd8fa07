package oidc_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/athens-go/athens/backends/oidc"
	"github.com/athens-go/athens/serve/auth"
)

func Example() {
	dir, err := os.MkdirTemp("", "jobs-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "jobs.txt")
	text := "issuer https://gitlab.corp.example gitlab\n" +
		"audience https://go.corp.example\n" +
		"allow corp.example.com read project_path=team/**\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		panic(err)
	}

	jobs, err := oidc.Open(file, nil)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go jobs.Run(ctx)                                                 // reads the file again when it changes
	tokens, err := auth.Open("", &auth.Options{Verify: jobs.Verify}) // "" is no token file
	if err != nil {
		panic(err)
	}
	root := tokens.Require(http.NotFoundHandler()) // in place of an athens.Handler

	r := httptest.NewRequest(http.MethodGet, "/corp.example.com/m/@v/list", nil)
	r.Header.Set("Authorization", "Bearer eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL290aGVyLnRlc3QifQ.")
	w := httptest.NewRecorder()
	root.ServeHTTP(w, r)
	fmt.Print(w.Code, " ", w.Body)
	// Output:
	// 401 tokens of this issuer are not accepted here
}
