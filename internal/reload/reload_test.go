package reload_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/athens-go/athens/internal/reload"
)

func TestRun(t *testing.T) {
	name := filepath.Join(t.TempDir(), "settings")
	write := func(text string) { require.NoError(t, os.WriteFile(name, []byte(text), 0o666)) }
	synctest.Test(t, func(t *testing.T) {
		f := reload.New(name)
		var reads atomic.Int64
		var empty atomic.Bool
		read := func() {
			_ = f.Read(func(none bool) error { reads.Add(1); empty.Store(none); return os.ErrInvalid })
		}
		read() // there is none yet
		assert.False(t, empty.Load())
		ctx, cancel := context.WithCancel(t.Context())
		go f.Run(ctx, time.Second, read)
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		assert.EqualValues(t, 1, reads.Load(), "nothing has changed")
		for i := range 3 { // it changes before each look
			write(fmt.Sprintf("%*d", i+1, i))
			time.Sleep(time.Second)
		}
		synctest.Wait()
		assert.EqualValues(t, 1, reads.Load(), "it is being written")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		assert.EqualValues(t, 2, reads.Load(), "once, also if it was bad")
		write("")
		time.Sleep(3 * time.Second)
		synctest.Wait()
		assert.EqualValues(t, 3, reads.Load())
		assert.True(t, empty.Load())
		cancel()
		f.Run(ctx, -1, nil)
	})
}

func ExampleFile() {
	ctx, cancel := context.WithCancel(context.Background())
	f := reload.New("settings.txt")
	load := func(bool) error {
		text, err := os.ReadFile("settings.txt")
		fmt.Printf("%d bytes, there is such a file: %t\n", len(text), err == nil)
		return err
	}
	_ = f.Read(load)
	cancel()
	f.Run(ctx, time.Second, func() { _ = f.Read(load) })
	// Output:
	// 0 bytes, there is such a file: false
}
