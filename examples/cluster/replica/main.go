// Command replica is examples/proxy for more than one machine. It keeps versions in a bucket and
// fills on a JetStream server, which any number of replicas share behind one address. With
// -ledger they also share a log of what they serve, in the bucket. "replica store" lists the
// bucket's versions, verifies them, takes them back, and fills, exports and imports them, as
// examples/store does in a folder.
package main

import (
	"context"
	"errors"
	"io"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/backends/oidc"
	"github.com/athens-go/athens/examples/internal/command"
	"github.com/athens-go/athens/examples/internal/server"
)

func main() { command.Main(run) }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) > 0 && args[0] == "store" {
		return tool(ctx, args[1:], stdout, stderr)
	}
	flags := server.NewFlags("replica", "127.0.0.1:3000")
	bucket := flags.String("bucket", "", "keep modules in the bucket at this `URL`: s3://, gs:// or azblob://; required")
	stream := flags.String("nats", "", "share fills through the JetStream server at this `URL`; required")
	copies := flags.Int("nats-replicas", 0, "keep fills on this `number` of JetStream servers; 0 means one, or as many as the stream has")
	jobs := flags.String("oidc", "", "let in CI jobs by the OpenID Connect tokens of the issuers in this `file`, which is read again whenever it\nchanges and on SIGHUP; empty means none")
	proxy, ledger := flags.ProxyFlags(), flags.SharedLedgerFlags()
	if err := flags.ParseArgs(args, stdout, stderr); err != nil {
		return err
	}
	if *bucket == "" || *stream == "" {
		return errors.New("-bucket and -nats are required")
	}
	if err := proxy.Check(); err != nil {
		return err
	}
	log, flush := flags.NewLogger(stderr)
	defer flush()

	shared, err := openShared(ctx, bucket, stream, copies, log)
	if err != nil {
		return err
	}
	defer shared.close()
	store := shared.store
	if *jobs != "" {
		if flags.Jobs, err = oidc.Open(*jobs, &oidc.Options{Logger: log}); err != nil {
			return err
		}
	}
	parts, err := server.OpenOn(store, shared.fills, flags, log)
	if err != nil {
		return err
	}
	if err := useTelemetry(ctx, parts); err != nil {
		return err
	}
	if err := parts.Use(proxy); err != nil {
		return err
	}
	if err := parts.UseSharedLedger(ledger, func(key, oldKey, dir string) (athens.Ledger, error) {
		return blob.NewLedger(ctx, store, key, &blob.LedgerOptions{Dir: dir, OldKey: oldKey, Logger: log})
	}); err != nil {
		return err
	}
	handler, err := parts.Handler()
	if err != nil {
		return err
	}
	return parts.Serve(ctx, handler, nil, stdout, parts.PasteAt)
}
