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

// maxMessage bounds a message of these streams, in bytes: a state with the longest
// reason fits.
const maxMessage = 8 << 10

// consumer is the name of the consumer that all workers share.
const consumer = "workers"

// streams has the messages.
type streams struct {
	todo    jetstream.Stream   // pending and running fills, one subject per version
	failed  jetstream.Stream   // failures, one subject per version
	workers jetstream.Consumer // of todo
}

// there returns the streams. It creates them if New could not.
func (q *Queue) there(ctx context.Context) (*streams, error) {
	if s := q.streams.Load(); s != nil {
		return s, nil
	}
	if !q.js.Conn().IsConnected() {
		return nil, ErrOffline
	}
	ctx, cancel := context.WithTimeout(ctx, q.opts.RequestTimeout)
	defer cancel()
	if err := q.setup(ctx); err != nil {
		return nil, err
	}
	return q.streams.Load(), nil
}

// away reports whether err means that no server answers.
func away(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, ErrOffline) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, natsgo.ErrTimeout) ||
		errors.Is(err, natsgo.ErrNoResponders) || errors.As(err, &api) && api.Code == http.StatusServiceUnavailable
}

// setup creates the streams and the consumer, or updates them to the options. It is
// called again when the server has lost them.
func (q *Queue) setup(ctx context.Context) error {
	todo, err := q.ensure(ctx, q.opts.Name, func(c *jetstream.StreamConfig) {
		c.Description = "Module versions to fetch. Each version has one message at most."
		c.Subjects = []string{q.opts.Name + ".todo.>"}
		c.Retention = jetstream.WorkQueuePolicy
		c.Discard = jetstream.DiscardNew
		c.MaxMsgs = int64(q.opts.Limit)
	})
	if err != nil {
		return err
	}
	failed, err := q.ensure(ctx, q.opts.Name+"-failed", func(c *jetstream.StreamConfig) {
		c.Description = "Module versions that could not be fetched, and why."
		c.Subjects = []string{q.opts.Name + ".failed.>"}
		c.Retention = jetstream.LimitsPolicy
		c.Discard = jetstream.DiscardOld
		c.MaxMsgs = int64(q.opts.Failed)
		c.MaxAge = q.opts.FailedTTL
	})
	if err != nil {
		return err
	}
	workers, err := todo.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{
		Durable:       consumer,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       q.opts.LeaseTimeout,
		MaxDeliver:    -1,
		MaxAckPending: -1, // fills that are not due wait there, and Limit bounds them
		MaxWaiting:    4096,
	})
	if err != nil {
		return fmt.Errorf("nats: creating the consumer of stream %s: %w", q.opts.Name, err)
	}
	q.streams.Store(&streams{todo, failed, workers})
	return nil
}

// ensure creates a stream, or updates the fields that set changes. Other fields keep
// what an operator has set, such as the placement in the cluster.
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
		return nil, fmt.Errorf("nats: creating or updating stream %s: %w", name, err)
	}
	return stream, nil
}
