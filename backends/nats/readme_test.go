package nats_test

import (
	"context"
	"log"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/nats"
)

// The code of the README. It is compiled and not run: it needs a server.
func Example_server() {
	ctx := context.Background()
	var handler *athens.Handler // from athens.NewHandler, with fills as its Options.Fills
	conn, err := natsgo.Connect("nats.example.com", natsgo.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		log.Fatal(err)
	}
	fills, err := nats.New(ctx, js, nil) // the options of all that share it are the same
	if err != nil {
		log.Fatal(err)
	}
	go fills.Run(ctx, handler.Fill)
}
