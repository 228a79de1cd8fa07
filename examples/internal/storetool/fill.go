package storetool

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/examples/internal/server"
	"github.com/athens-go/athens/fill/warm"
)

// fillFlags are those of fill.
type fillFlags struct {
	tool *Tool
	*server.Flags
	upstream, server, tokenFile, platforms *string
	all                                    []string
	parallel                               *int
}

// fill has a store, or a server that runs, hold what builds need.
func (t *Tool) fill(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
	f := &fillFlags{tool: t, Flags: &server.Flags{FlagSet: flags, Name: "fill", VCS: "git"}}
	f.StringVar(&f.Dir, "dir", "", "fill the store in this "+t.Place+", which is made if there is none; servers may use it meanwhile; empty means -server")
	f.server = f.String("server", "", "fill the server at this `URL` by asking it as clients do; empty means -dir")
	f.tokenFile = f.String("token-file", "", "the `file` with the token for -server; empty means the environment's ATHENS_TOKEN, or none")
	f.upstream = f.UpstreamFlag()
	f.StringVar(&f.Private, "private", "", "fetch modules that match these `patterns` (as in GOPRIVATE) from version control only;\nempty means none, not given means GOPRIVATE and GONOPROXY of the environment and of 'go env -w'")
	f.StringVar(&f.Rules, "rules", "", "read rules from this `file`, as a server does; empty means no rules")
	f.StringVar(&f.SumDB, "sumdb", "off", "store public modules only if this checksum `database` vouches for them, and store its answers too, so that clients\ncan verify offline: 'NAME+HASH+KEY [URL]', or the name alone, as in GOSUMDB (with -server a name). The upstream must\npass it on. off means none")
	f.platforms = f.String("toolchains", "", "fill the toolchains that go.mod and go.work files name, for these `platforms`: linux/amd64,darwin/arm64;\nempty means none")
	f.Func("all-versions", "fill all versions that the source lists of this `module`; may be given again for another; not given means none", func(path string) error {
		f.all = append(f.all, path)
		return nil
	})
	f.parallel = f.Int("parallel", 64, "fill so `many` versions at once; must be positive")
	if err := f.Parse(args); err != nil {
		return err
	}
	// Little is kept in memory, so the collector would run all the time: a tenth of the CPU time.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	plan, err := f.plan()
	if err != nil {
		return err
	}
	target, sumdb, end, err := f.target(ctx, flags.Output())
	if err != nil {
		return err
	}
	defer end()
	m := newMeter("fill", flags.Output())
	began := time.Now()
	sum, err := warm.Run(ctx, target, plan, &warm.Options{
		Parallel: *f.parallel, SumDB: sumdb,
		Platforms: strings.FieldsFunc(*f.platforms, func(r rune) bool { return r == ',' || r == ' ' }),
		Progress:  func(p warm.Progress) { m.show("files and versions", p.Done, p.Of, p.Bytes, 0) },
	})
	m.end()
	if sum == nil {
		return err
	}
	for _, failure := range sum.Failed {
		fmt.Fprintln(stdout, "failed:", failure)
	}
	fmt.Fprintf(stdout, "filled: %s in %v\n", filledOf(sum), time.Since(began).Round(time.Millisecond))
	if err == nil && len(sum.Failed) > 0 {
		err = ErrDamaged // the report has said what
	}
	return err
}

// filledOf says what was done.
func filledOf(s *warm.Summary) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d versions, %d of them with the zip, %d were held before", s.Versions, s.Zips, s.Held)
	for _, c := range []struct {
		n    int
		text string
	}{
		{s.Scheduled, "that the server fills later"}, {s.Records, "in the checksum database"}, {s.Private, "private ones of which that must not hear"}, {len(s.Failed), "failed"},
	} {
		if c.n > 0 {
			fmt.Fprintf(&b, ", %d %s", c.n, c.text)
		}
	}
	return b.String() + ", " + size(s.Bytes)
}

// plan reads the arguments.
func (f *fillFlags) plan() (*warm.Plan, error) {
	switch {
	case f.NArg() == 0 && f.all == nil:
		return nil, errors.New("want go.sum, go.mod or go.work files, folders of projects, or lists of modules (- for standard input), or -all-versions")
	case (f.Dir == "") == (*f.server == ""):
		return nil, errors.New("want either -dir or -server")
	case *f.parallel < 1:
		return nil, fmt.Errorf("-parallel is %d; it must be positive", *f.parallel)
	}
	plan := warm.NewPlan()
	for _, name := range f.Args() {
		var err error
		if name == "-" {
			err = plan.AddList("standard input", os.Stdin)
		} else {
			err = plan.Add(name)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, path := range f.all {
		if err := plan.AddAllVersions(path); err != nil {
			return nil, fmt.Errorf("-all-versions: %w", err)
		}
	}
	return plan, nil
}

// target returns what is to be filled, the name of the checksum database, and what ends it.
func (f *fillFlags) target(ctx context.Context, stderr io.Writer) (t warm.Target, sumdb string, end func(), err error) {
	if *f.server != "" {
		return f.serverTarget()
	}
	store, closeStore, err := f.tool.make()(ctx, f.Dir)
	if err != nil {
		return nil, "", nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeStore())
		}
	}()
	parts, err := server.OpenOn(store, nil, f.Flags, slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError})))
	if err != nil {
		return nil, "", nil, err
	}
	if err := parts.UseUpstream(*f.upstream); err != nil {
		parts.Close()
		return nil, "", nil, err
	}
	parts.Options.MissFetch, parts.Options.Prefetch = parts.Options.Upstream != nil, -1
	handler, err := athens.NewHandler(parts.Store, &parts.Options)
	if err != nil {
		parts.Close()
		return nil, "", nil, err
	}
	if named, ok := parts.Options.Checksums.(interface{ Name() string }); ok {
		sumdb = named.Name()
	}
	return warm.Handler(handler, store), sumdb, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := handler.Shutdown(ctx); err != nil {
			fmt.Fprintln(stderr, "fill:", err)
		}
		parts.Close()
		if err := closeStore(); err != nil {
			fmt.Fprintln(stderr, "fill:", err)
		}
	}, nil
}

// serverTarget is a server that runs.
func (f *fillFlags) serverTarget() (t warm.Target, sumdb string, end func(), err error) {
	if f.SumDB != "off" {
		sumdb, _, _ = strings.Cut(strings.Fields(f.SumDB + " ")[0], "+")
	}
	token := os.Getenv("ATHENS_TOKEN")
	if *f.tokenFile != "" {
		data, err := os.ReadFile(*f.tokenFile)
		if err != nil {
			return nil, "", nil, err
		}
		token = string(data)
	}
	conns, ok := http.DefaultTransport.(*http.Transport)
	if !ok {
		return nil, "", nil, errors.New("the default transport of HTTP was replaced")
	}
	conns = conns.Clone()
	conns.MaxIdleConnsPerHost = *f.parallel
	t, err = warm.Server(*f.server, &warm.ServerOptions{Token: strings.TrimSpace(token), Client: &http.Client{Transport: conns, Timeout: 10 * time.Minute}})
	return t, sumdb, conns.CloseIdleConnections, err
}
