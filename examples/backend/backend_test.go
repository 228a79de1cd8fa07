package backend_test

import (
	"context"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/athens-go/athens"
	"github.com/athens-go/athens/examples/backend"
	"github.com/athens-go/athens/storage/storagetest"
)

// TestKit is the test of a backend: the kit, on a medium of its own for each case.
func TestKit(t *testing.T) {
	storagetest.Run(t, func(*testing.T) storagetest.Open {
		var medium bucket
		return func() (athens.Storage, error) { return backend.New(&medium), nil }
	})
}

// bucket stands for the service.
type bucket struct{ objects sync.Map }

func (b *bucket) Get(ctx context.Context, key string) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	body, ok := b.objects.Load(key)
	if !ok {
		return nil, fs.ErrNotExist
	}
	return body.([]byte), nil
}

func (b *bucket) Create(ctx context.Context, key string, body []byte) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, there := b.objects.LoadOrStore(key, body); there {
		return fs.ErrExist
	}
	return nil
}

func (b *bucket) List(ctx context.Context, prefix string) (keys []string, err error) {
	b.objects.Range(func(key, _ any) bool {
		if strings.HasPrefix(key.(string), prefix) {
			keys = append(keys, key.(string))
		}
		return true
	})
	return keys, ctx.Err()
}
