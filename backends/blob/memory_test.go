package blob

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"
)

// What was seen is believed for its time, each part for its own, within its bytes.
func TestMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const lasts = time.Minute
		c := newMemory(4*(overhead+100), lasts)
		m := module.Version{Path: "example.com/m", Version: "v1.0.0"}
		c.addMeta(m, &meta{object: make([]byte, 100)})
		time.Sleep(lasts / 2)
		c.addZip(m, &zipObject{size: 7})
		require.NotNil(t, c.get(m).meta)
		require.NotNil(t, c.get(m).zip)
		time.Sleep(lasts/2 + time.Second)
		require.Nil(t, c.get(m).meta)
		require.NotNil(t, c.get(m).zip)
		c.dropZip(m)
		require.Nil(t, c.get(m).zip)

		c.addMeta(m, &meta{object: make([]byte, 100)})
		for i := range 100 {
			c.addMeta(module.Version{Path: fmt.Sprint(i)}, &meta{object: make([]byte, 100)})
			require.NotNil(t, c.get(m).meta, "what is asked for stays")
			require.LessOrEqual(t, len(c.young)+len(c.old), 4)
		}
		large := module.Version{Path: "example.com/large"}
		c.addMeta(large, &meta{object: make([]byte, 4*overhead)})
		require.Nil(t, c.get(large).meta)
	})
	none := newMemory(-1, time.Minute)
	none.addMeta(module.Version{}, &meta{})
	require.Zero(t, none.get(module.Version{}))
}
