package nats_test

import (
	"context"
	"fmt"
	"os"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/nats"
	"github.com/athens-go/athens/backends/nats/embedded"
)

func Example() {
	dir, err := os.MkdirTemp("", "fills")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	server, err := embedded.New(dir, nil) // or nats.Connect("nats.example.com")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	js, err := jetstream.New(server.Conn())
	if err != nil {
		fmt.Println(err)
		return
	}
	fills, err := nats.New(ctx, js, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	owed := athens.Fill{Module: module.Version{Path: "example.com/mod", Version: "v1.0.0"}, Zip: true}
	for range 3 { // three clients, or three proxies
		if err := fills.Schedule(ctx, owed, 0); err != nil {
			fmt.Println(err)
		}
	}
	err = fills.Run(ctx, func(_ context.Context, f athens.Fill) error { // the handler's Fill
		fmt.Println("filling", f.Module, "with its zip:", f.Zip)
		stop()
		return nil
	})
	fmt.Println(err)
	// Output:
	// filling example.com/mod@v1.0.0 with its zip: true
	// <nil>
}
