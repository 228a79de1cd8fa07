package blob_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/backends/blob"
	"github.com/athens-go/athens/internal/modtest"
	"github.com/athens-go/athens/storage/storagetest"
	"github.com/stretchr/testify/require"
	gocloud "gocloud.dev/blob"
)

// childTask is the environment variable that makes this program a child: the words
// are what to do, and with what.
const childTask = "ATHENS_BLOB_CHILD"

// child is what a process does that a test has started.
func child(task string) int {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	words := strings.Fields(task)
	store, err := blob.OpenURL(ctx, words[1], nil)
	if err == nil {
		switch words[0] {
		case "race":
			err = race(ctx, store, words[2])
		case "store":
			err = large(words[2]).Store(ctx, store)
		case "large":
			err = passLarge(ctx, store, words[2])
		}
		err = errors.Join(err, store.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// command is this program as a child that is logged in. It is killed when ctx is done.
func command(ctx context.Context, t *testing.T, server *modtest.S3, task string) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), childTask+"="+task) // with TestMain's
	cmd.Stderr = os.Stderr
	return cmd
}

const races = 20

func contender(i int, salt string) storagetest.Sample {
	return storagetest.NewSample("example.com/race", fmt.Sprintf("v1.%d.0", i), salt)
}

// race stores versions that other processes have otherwise, and prints which it won.
func race(ctx context.Context, store *blob.Store, salt string) error {
	for i := range races {
		err := contender(i, salt).Store(ctx, store)
		var conflict *athens.ConflictError
		switch {
		case err == nil:
			fmt.Printf("%d ", i)
		case !errors.As(err, &conflict):
			return err
		}
	}
	return nil
}

// Of several processes that store different content of the same versions exactly one
// wins each, and all see what that one has.
func TestProcessesRace(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	salts := []string{"a", "bb", "ccc", "dddd"}
	won := make([]string, len(salts))
	ended := make(chan error, len(salts))
	for i, salt := range salts {
		cmd := command(t.Context(), t, server, "race "+server.URL("modules")+" "+salt)
		go func() {
			out, err := cmd.Output()
			won[i] = string(out)
			ended <- err
		}()
	}
	for range salts {
		require.NoError(t, <-ended)
	}
	winner := map[string]string{}
	for i, salt := range salts {
		for _, v := range strings.Fields(won[i]) {
			require.Empty(t, winner[v], "version %s was won twice", v)
			winner[v] = salt
		}
	}
	require.Len(t, winner, races)
	store := open(t, server, nil)
	for i := range races {
		s := contender(i, winner[fmt.Sprint(i)])
		require.NoError(t, s.Whole(t.Context(), store))
	}
}

// A process is killed at each request of a fill, before the service has done it and
// after. The version is absent, held without its zip, or whole; the next one who
// stores it finds nothing in the way.
func TestWriterIsKilled(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	store := open(t, server, nil)
	for _, at := range []int{0, 2, 4, 6} { // of PUT, HEAD, POST, three parts, POST
		for _, late := range []bool{false, true} {
			s := large(fmt.Sprintf("v1.%d.%d", at, map[bool]int{true: 1}[late]))
			ctx, kill := context.WithCancel(t.Context())
			cmd := command(ctx, t, server, "store "+server.URL("modules")+" "+s.Module.Version)
			fault := modtest.Fault(func(http.Handler) http.Handler {
				return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
					kill()
					panic(http.ErrAbortHandler)
				})
			})
			if late {
				fault = modtest.After(fault)
			}
			var seen atomic.Int64
			mend := server.Break("modules", modtest.Only(func(r *http.Request) bool {
				return strings.Contains(r.URL.Path, s.Module.Version) && seen.Add(1) > int64(at)
			}, fault))
			require.Error(t, cmd.Run(), "at request %d", at)
			require.Error(t, ctx.Err(), "at request %d", at)
			mend()
			if _, err := store.Open(t.Context(), s.Module, athens.ModFile); !errors.Is(err, fs.ErrNotExist) {
				require.NoError(t, s.Held(t.Context(), store))
			} else {
				require.Zero(t, at)
			}
			if _, err := store.Open(t.Context(), s.Module, athens.ZipFile); !errors.Is(err, fs.ErrNotExist) {
				require.NoError(t, s.Whole(t.Context(), store))
			}
			require.NoError(t, s.Store(t.Context(), store))
			require.NoError(t, s.Whole(t.Context(), store))
		}
	}
}

// remove takes an object out of the bucket.
func remove(t *testing.T, server *modtest.S3, key string) {
	bucket, err := gocloud.OpenBucket(t.Context(), server.URL("modules"))
	require.NoError(t, err)
	defer bucket.Close()
	require.NoError(t, bucket.Delete(t.Context(), key))
}
