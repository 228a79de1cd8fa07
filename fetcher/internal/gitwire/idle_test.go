package gitwire_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/fetcher/internal/gitwire"
)

// A server that sends a byte now and then does not hold its place: a pack arrives at
// 1 KiB a second at least, and begins within ten minutes. One that is just slow does.
func TestTrickle(t *testing.T) {
	hello := "HEAD\x00side-band-64k ofs-delta\n"
	hello = fmt.Sprintf("%04x%040x %s0000", len(hello)+45, 1, hello)
	for name, c := range map[string]struct {
		first, then string // packets
		every       time.Duration
		most        time.Duration // zero: it is read to its end, which takes an hour
	}{
		"a byte now and then":   {"0008NAK\n0006\x01P", "0006\x01x", 10 * time.Second, 70 * time.Second},
		"empty packets":         {"0008NAK\n", "0005\x01", 5 * time.Second, 10 * time.Minute},
		"empty packets at last": {"0008NAK\n0006\x01P", "0005\x01", 5 * time.Second, 70 * time.Second},
		"talk before the pack":  {"", fmt.Sprintf("0038ACK %040x common\n", 1), 5 * time.Second, 10 * time.Minute},
		"slow":                  {"0008NAK\n", fmt.Sprintf("%04x\x01%s", 50_005, strings.Repeat("x", 50_000)), 40 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(time.Minute) // until the server has noticed
				client := &gitwire.Client{
					Link: gitwire.Streams{Dial: func(context.Context) (gitwire.Stream, error) {
						r, w := io.Pipe()
						go func() {
							_, err := io.WriteString(w, hello)
							if err == nil {
								_, err = io.WriteString(w, c.first)
							}
							for start := time.Now(); err == nil && time.Since(start) < time.Hour; {
								time.Sleep(c.every)
								_, err = io.WriteString(w, c.then)
							}
							_, _ = io.WriteString(w, "0000")
						}()
						return &stuck{r}, nil
					}},
					Limits: gitwire.Limits{FirstByte: time.Minute, Idle: time.Minute},
				}
				server, err := client.List(t.Context(), nil, nil)
				require.NoError(t, err)
				start := time.Now()
				pack, err := server.Fetch(t.Context(), &gitwire.Request{Wants: []gitwire.ID{{}}})
				if err == nil {
					_, err = io.Copy(io.Discard, pack)
					require.NoError(t, pack.Close())
				}
				if c.most == 0 {
					require.NoError(t, err)
					return
				}
				assert.ErrorIs(t, err, gitwire.ErrSilent)
				assert.LessOrEqual(t, time.Since(start), c.most)
			})
		})
	}
}
