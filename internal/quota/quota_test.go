package quota_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/module"

	"github.com/athens-go/athens/internal/quota"
)

func version(n int) module.Version {
	return module.Version{Path: "example.com/m", Version: fmt.Sprintf("v0.0.0-20260101000000-%012d", n)}
}

// A quota refills evenly over an hour, and each module has its own. A version that was
// admitted, and versions with tags, cost nothing.
func TestQuota(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := quota.New(2)
		require.NoError(t, q.Admit(version(1)))
		require.NoError(t, q.Admit(version(2)))
		require.NoError(t, q.Admit(version(1)), "admitted before")
		err, ok := errors.AsType[*quota.Error](q.Admit(version(3)))
		require.True(t, ok)
		assert.Equal(t, quota.Error{Max: 2, RetryAfter: 30 * time.Minute}, *err)
		require.NoError(t, q.Admit(module.Version{Path: "example.com/m", Version: "v1.0.0"}), "no pseudo-version")
		require.NoError(t, q.Admit(module.Version{Path: "example.com/other", Version: version(3).Version}))
		time.Sleep(30 * time.Minute)
		require.NoError(t, q.Admit(version(3)))
		require.Error(t, q.Admit(version(4)))
	})
	for i := range 10_000 {
		require.NoError(t, quota.New(-1).Admit(version(i)), "no limit")
	}
}

func Example() {
	q := quota.New(1)
	fmt.Println(q.Admit(module.Version{Path: "example.com/m", Version: "v0.0.0-20260101000000-aaaaaaaaaaaa"}))
	fmt.Println(q.Admit(module.Version{Path: "example.com/m", Version: "v0.0.0-20260101000001-bbbbbbbbbbbb"}))
	// Output:
	// <nil>
	// this server fetches at most 1 new pseudo-versions of a module in an hour (Options.MaxPseudoVersions)
}
