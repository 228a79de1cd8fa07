package embedded_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/backends/nats/embedded"
)

func TestOptions(t *testing.T) {
	for _, o := range []embedded.Options{
		{SyncInterval: -1}, {MaxBytes: -1}, {StartTimeout: -1}, {Addr: "nowhere"}, {Addr: "127.0.0.1:x"},
		{Cluster: &embedded.Cluster{Name: "c"}},
	} {
		_, err := embedded.New(t.TempDir(), &o)
		require.Error(t, err, o)
	}
	_, err := embedded.New("", nil)
	require.Error(t, err)
}

// A folder belongs to one server at a time; the next server finds its messages.
func TestOneFolder(t *testing.T) {
	dir := t.TempDir()
	s, err := embedded.New(dir, nil)
	require.NoError(t, err)
	_, err = embedded.New(dir, nil)
	require.ErrorContains(t, err, "another server uses this folder")
	publish(t, s.Conn(), true)
	require.NoError(t, s.Close())
	require.NoError(t, s.Close(), "a second Close")
	assert.True(t, s.Conn().IsClosed())

	s, err = embedded.New(dir, nil)
	require.NoError(t, err)
	defer s.Close()
	publish(t, s.Conn(), false)
}

// publish creates a stream with one message, or finds it.
func publish(t *testing.T, conn *nats.Conn, first bool) {
	t.Helper()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if first {
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "s", Subjects: []string{"s"}})
		require.NoError(t, err)
		_, err = js.Publish(ctx, "s", []byte("hello"))
		require.NoError(t, err)
		return
	}
	stream, err := js.Stream(ctx, "s")
	require.NoError(t, err)
	msg, err := stream.GetLastMsgForSubject(ctx, "s")
	require.NoError(t, err)
	assert.Equal(t, "hello", string(msg.Data))
}

// New returns at once what went wrong, and leaves nothing running.
func TestPortTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	dir := t.TempDir()
	var log bytes.Buffer
	_, err = embedded.New(dir, &embedded.Options{
		Addr: l.Addr().String(), StartTimeout: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	require.ErrorContains(t, err, "address already in use")
	assert.Contains(t, log.String(), "address already in use")
	s, err := embedded.New(dir, nil)
	require.NoError(t, err, "the folder is free again")
	require.NoError(t, s.Close())
}
