package storetool

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"github.com/athens-go/athens/serve/events"
	"github.com/athens-go/athens/serve/operate"
)

// takeBack returns the command that has that name: rm, hide or restore.
func (t *Tool) takeBack(name string) func(context.Context, *flag.FlagSet, []string, io.Writer) error {
	return func(ctx context.Context, flags *flag.FlagSet, args []string, stdout io.Writer) error {
		dir := flags.String("dir", "", "change the store in this "+t.Place+", also beside servers that run; empty means -server")
		server := flags.String("server", "", "have the server at this `URL` do it, with a token that has the right admin; empty means -dir")
		token := flags.String("token-file", "", "the `file` with the token for -server; empty means the environment's ATHENS_TOKEN")
		var reason *string
		if name != "restore" {
			reason = flags.String("reason", "", "the `text` that users see; empty is an error")
		}
		if err := flags.Parse(args); err != nil {
			return err
		}
		versions, err := versionsOf(flags.Args())
		switch {
		case err != nil:
			return err
		case (*dir == "") == (*server == ""):
			return errors.New("want either -dir or -server")
		case reason != nil:
			if err := operate.CheckReason(*reason); err != nil {
				return fmt.Errorf("-reason: %w", err)
			}
		default:
			reason = new(string)
		}
		mark := t.here(*dir)
		if *server != "" {
			mark, err = atServer(*server, *token)
		}
		for _, m := range versions {
			if err == nil {
				err = mark(ctx, name, m, *reason)
			}
			if err == nil {
				_, err = fmt.Fprintf(stdout, "%s: %s\n", doneBy(name), m)
			}
		}
		return err
	}
}

// versionsOf reads arguments such as example.com/mod@v1.0.0.
func versionsOf(args []string) ([]module.Version, error) {
	var all []module.Version
	for _, arg := range args {
		path, version, _ := strings.Cut(arg, "@")
		if err := module.Check(path, version); err != nil || module.CanonicalVersion(version) != version {
			return nil, fmt.Errorf("%q is not MODULE@VERSION with a canonical version, such as example.com/mod@v1.2.3", arg)
		}
		all = append(all, module.Version{Path: path, Version: version})
	}
	if all == nil {
		return nil, errors.New("want MODULE@VERSION")
	}
	return all, nil
}

// doneBy says what a version is after the command of that name.
func doneBy(name string) (kind string) {
	switch name {
	case "rm":
		return events.Removed
	case "hide":
		return events.Hidden
	}
	return events.Restored
}

// here returns what marks a version in the store that -dir names, and tells the feed of the
// server that has it open, if it is a folder with a feed.
func (t *Tool) here(dir string) func(context.Context, string, module.Version, string) error {
	return func(ctx context.Context, name string, m module.Version, reason string) error {
		err := t.with(ctx, dir, func(store Store) error {
			switch name {
			case "rm":
				return store.Remove(ctx, m, reason)
			case "hide":
				return store.Hide(ctx, m, reason)
			}
			return store.Restore(ctx, m)
		})
		if err != nil {
			return err
		}
		return events.Notify(filepath.Join(dir, events.Folder), doneBy(name), m, reason)
	}
}

// atServer returns what has a server mark a version.
func atServer(server, tokenFile string) (func(context.Context, string, module.Version, string) error, error) {
	to, err := url.Parse(server)
	if err != nil || to.Host == "" || to.Scheme != "https" && to.Scheme != "http" {
		return nil, fmt.Errorf("-server is %q, not a URL such as https://go.corp.example", server)
	}
	token := os.Getenv("ATHENS_TOKEN")
	if tokenFile != "" {
		data, err := os.ReadFile(tokenFile)
		if err != nil {
			return nil, err
		}
		token = string(data)
	}
	if token = strings.TrimSpace(token); token == "" {
		return nil, errors.New("there is no token: give -token-file, or set ATHENS_TOKEN")
	}
	client := &http.Client{
		Timeout: 5 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("the server redirects, and the token is for it alone")
		},
	}
	return func(ctx context.Context, name string, m module.Version, reason string) error {
		order := map[string]string{"module": m.Path, "version": m.Version}
		if reason != "" {
			order["reason"] = reason
		}
		body, err := json.Marshal(order)
		if err != nil {
			return err
		}
		path := map[string]string{"rm": "remove", "hide": "hide", "restore": "restore"}[name]
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.JoinPath(path).String(), bytes.NewReader(body))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		said, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s answers %s: %s", m, to.Host, resp.Status, strings.TrimSpace(string(said)))
		}
		return err
	}, nil
}
