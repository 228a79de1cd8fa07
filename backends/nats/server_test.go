package nats_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/backends/nats/embedded"
)

// start starts a server in this process.
func start(t *testing.T, dir string, opts *embedded.Options) *embedded.Server {
	t.Helper()
	s, err := embedded.New(dir, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// jetStream is that of a connection.
func jetStream(t *testing.T, conn *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(conn)
	require.NoError(t, err)
	return js
}

// inProcess is a server without a port.
func inProcess(t *testing.T) jetstream.JetStream {
	return jetStream(t, start(t, t.TempDir(), nil).Conn())
}

// overTCP is a server that is reached as one on another machine is.
func overTCP(t *testing.T) jetstream.JetStream {
	s := start(t, t.TempDir(), &embedded.Options{Addr: "127.0.0.1:0"})
	conn, err := nats.Connect(s.Addr())
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return jetStream(t, conn)
}
