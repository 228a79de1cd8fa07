package nats_test

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/backends/nats/embedded"
	"github.com/athens-go/athens/internal/modtest"
)

// TestMain also runs the other processes of these tests.
func TestMain(m *testing.M) {
	switch os.Getenv("NATS_TEST_PROCESS") {
	case "worker":
		workerProcess(os.Getenv("NATS_TEST_ADDR"))
	case "server":
		serverProcess(os.Getenv("NATS_TEST_DIR"), os.Getenv("NATS_TEST_ADDR"))
	default:
		// Nearly all time is spent waiting for leases and delays, not for a processor.
		flag.Parse()
		if err := flag.Set("test.parallel", "5"); err != nil {
			panic(err)
		}
		os.Exit(modtest.Main(m))
	}
}

// process is another process.
type process struct {
	t    *testing.T
	cmd  *exec.Cmd
	said *bufio.Scanner
	kill func() // kill -9
}

// startProcess starts this test binary as another process.
func startProcess(t *testing.T, what string, env ...string) *process {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	p := &process{t: t, cmd: exec.Command(exe)}
	p.cmd.Env = append(append(os.Environ(), "NATS_TEST_PROCESS="+what), env...)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.said = bufio.NewScanner(out)
	require.NoError(t, p.cmd.Start())
	p.kill = sync.OnceFunc(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	})
	t.Cleanup(p.kill)
	return p
}

// says waits for a line of the process.
func (p *process) says() string {
	p.t.Helper()
	require.True(p.t, p.said.Scan(), "the process has ended")
	return p.said.Text()
}

func serverProcess(dir, addr string) {
	s, err := embedded.New(dir, &embedded.Options{Addr: addr, StartTimeout: patience})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Addr())
	select {}
}

// start starts a server in this process.
func start(t *testing.T, dir string, opts *embedded.Options) *embedded.Server {
	t.Helper()
	o := embedded.Options{}
	if opts != nil {
		o = *opts
	}
	o.StartTimeout = patience
	s, err := embedded.New(dir, &o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

// connect connects over TCP, and reconnects whenever the connection is lost.
func connect(t *testing.T, addr string) jetstream.JetStream {
	t.Helper()
	conn, err := natsgo.Connect(addr, natsgo.MaxReconnects(-1), natsgo.ReconnectWait(20*time.Millisecond), natsgo.RetryOnFailedConnect(true),
		natsgo.ErrorHandler(func(*natsgo.Conn, *natsgo.Subscription, error) {}))
	require.NoError(t, err)
	t.Cleanup(conn.Close)
	return jetStream(t, conn)
}

// jetStream returns the JetStream of a connection.
func jetStream(t *testing.T, conn *natsgo.Conn) jetstream.JetStream {
	t.Helper()
	// A call that Options.Wait does not bound takes longer than any test's patience.
	js, err := jetstream.New(conn, jetstream.WithDefaultTimeout(time.Hour))
	require.NoError(t, err)
	return js
}

// inProcess starts a server without a port.
func inProcess(t *testing.T) jetstream.JetStream {
	return jetStream(t, start(t, t.TempDir(), &embedded.Options{SyncInterval: time.Minute}).Conn())
}

// overTCP starts a server and connects over TCP, as to another machine.
func overTCP(t *testing.T) jetstream.JetStream {
	return connect(t, start(t, t.TempDir(), &embedded.Options{SyncInterval: time.Minute, Addr: "127.0.0.1:0"}).Addr())
}
