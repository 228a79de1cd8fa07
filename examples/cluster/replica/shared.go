package main

import (
	"context"
	"log/slog"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	_ "gocloud.dev/blob/azureblob"
	_ "gocloud.dev/blob/gcsblob"
	_ "gocloud.dev/blob/s3blob"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	queue "github.com/athens-go/athens/backends/nats"
)

// shared is what replicas share: the bucket with the versions, and the queue of fills.
type shared struct {
	store *blob.Store
	fills athens.FillScheduler
	conn  *nats.Conn
}

// openShared opens the bucket and the queue at their URLs.
func openShared(ctx context.Context, bucket, stream *string, copies *int, log *slog.Logger) (*shared, error) {
	store, err := blob.OpenURL(ctx, *bucket, nil)
	if err != nil {
		return nil, err
	}
	s := &shared{store: store}
	if s.conn, err = nats.Connect(*stream, nats.Name("athens"), nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true)); err != nil {
		s.close()
		return nil, err
	}
	js, err := jetstream.New(s.conn)
	if err != nil {
		s.close()
		return nil, err
	}
	fills, err := queue.New(ctx, js, &queue.Options{Replicas: *copies, Logger: log})
	if err != nil {
		s.close()
		return nil, err
	}
	s.fills = fills
	return s, nil
}

// close closes what was opened.
func (s *shared) close() {
	if s.conn != nil {
		s.conn.Close()
	}
	_ = s.store.Close()
}
