package sumlog_test

import (
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/athens-go/athens/internal/sumlog"
)

func ExampleTree() {
	var t sumlog.Tree
	tiles := map[tlog.Tile][]byte{}
	for i := range 300 {
		for _, full := range t.Add(tlog.RecordHash(fmt.Appendf(nil, "record %d\n", i))) {
			tiles[full.Tile] = full.Data
		}
	}
	read := func(level int, n int64) ([]byte, error) { return tiles[sumlog.TileAt(level, n)], nil }
	hash, err := tlog.TreeHash(t.N, t.Hashes(read))
	fmt.Println(t.N, hash, err, len(tiles))
	// Output: 300 Ey++6U8jR3/07muS3KCjyN5ywJOyyUIHrJWv/iryBOQ= <nil> 1
}
