package nats

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxMessage bounds what a message of these streams may have, in bytes: a state
// with the longest reason fits in, and little else.
const maxMessage = 8 << 10

// consumer is the name of the one that all workers share.
const consumer = "workers"

// streams is where the messages are.
type streams struct {
	todo    jetstream.Stream   // what is pending or running, a subject a version
	failed  jetstream.Stream   // what was given up, a subject a version
	workers jetstream.Consumer // of todo
}

// there returns the streams. It makes them if there was no server when the queue was
// made.
func (q *Queue) there(ctx context.Context) (*streams, error) {
	if s := q.streams.Load(); s != nil {
		return s, nil
	}
	if !q.js.Conn().IsConnected() {
		return nil, ErrOffline
	}
	ctx, cancel := context.WithTimeout(ctx, q.opts.Wait)
	defer cancel()
	if err := q.setup(ctx); err != nil {
		return nil, err
	}
	return q.streams.Load(), nil
}

// away reports whether err says that there is no server, or none that could answer.
func away(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, ErrOffline) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, natsgo.ErrTimeout) ||
		errors.Is(err, natsgo.ErrNoResponders) || errors.As(err, &api) && api.Code == http.StatusServiceUnavailable
}

// setup makes what is not there, and makes it what the options say. It is
// called again when the server has lost it.
func (q *Queue) setup(ctx context.Context) error {
	todo, err := q.ensure(ctx, q.opts.Name, func(c *jetstream.StreamConfig) {
		c.Description = "Module versions that are owed to a store. One message a version, which only its replacement changes."
		c.Subjects = []string{q.opts.Name + ".todo.>"}
		c.Retention = jetstream.WorkQueuePolicy
		c.Discard = jetstream.DiscardNew
		c.MaxMsgs = int64(q.opts.Limit)
	})
	if err != nil {
		return err
	}
	failed, err := q.ensure(ctx, q.opts.Name+"-failed", func(c *jetstream.StreamConfig) {
		c.Description = "Module versions that were given up, and why."
		c.Subjects = []string{q.opts.Name + ".failed.>"}
		c.Retention = jetstream.LimitsPolicy
		c.Discard = jetstream.DiscardOld
		c.MaxMsgs = int64(q.opts.Failed)
		c.MaxAge = q.opts.KeepFailed
	})
	if err != nil {
		return err
	}
	workers, err := todo.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       consumer,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       q.opts.Lease,
		MaxDeliver:    -1,
		MaxAckPending: -1, // what is not due yet waits there, and Limit bounds it
		MaxWaiting:    4096,
	})
	if err != nil {
		return fmt.Errorf("nats: the consumer of stream %s: %w", q.opts.Name, err)
	}
	q.streams.Store(&streams{todo, failed, workers})
	return nil
}

// ensure makes a stream, or changes what set wants changed. What an operator
// has set beside that, such as its place in the cluster, stays.
func (q *Queue) ensure(ctx context.Context, name string, set func(*jetstream.StreamConfig)) (jetstream.Stream, error) {
	change := func(c *jetstream.StreamConfig) {
		set(c)
		c.MaxMsgsPerSubject = 1
		c.MaxMsgSize = maxMessage
		if q.opts.Replicas != 0 {
			c.Replicas = q.opts.Replicas
		}
	}
	fresh := jetstream.StreamConfig{Name: name, Storage: jetstream.FileStorage}
	change(&fresh)
	stream, err := q.js.CreateStream(ctx, fresh)
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		stream, err = q.js.Stream(ctx, name)
		if err == nil {
			now := stream.CachedInfo().Config
			wanted := now
			change(&wanted)
			if !reflect.DeepEqual(now, wanted) {
				stream, err = q.js.UpdateStream(ctx, wanted)
			}
		}
	}
	if err != nil {
		return nil, fmt.Errorf("nats: stream %s: %w", name, err)
	}
	return stream, nil
}
