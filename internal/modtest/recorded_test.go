package modtest

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// failures counts what a test would have failed with.
type failures struct {
	testing.TB
	texts []string
}

func (f *failures) Helper() {}

func (f *failures) Errorf(format string, args ...any) {
	f.texts = append(f.texts, fmt.Sprintf(format, args...))
}

// A recorded answer is given without asking, unless the go command has to confirm it;
// then another answer fails the test.
func TestRecorded(t *testing.T) {
	t.Setenv(fullEnv, "")
	var asked []string
	ask := func(refs []string) []Answer {
		var answers []Answer
		for _, ref := range refs {
			asked = append(asked, ref)
			answers = append(answers, Answer{Ref: ref, Version: "v2.0.0"})
		}
		return answers
	}
	var broken failures
	open := func() *Recorded {
		return &Recorded{t: &broken, live: map[string]bool{"m@live": true}, held: map[string]Answer{
			"m@held": {Ref: "m@held", Version: "v1.0.0"}, "m@live": {Ref: "m@live", Version: "v1.0.0"},
		}}
	}
	got := open().Get([]string{"m@new", "m@held"}, ask)
	require.Len(t, got, 2)
	assert.Equal(t, []string{"v2.0.0", "v1.0.0"}, []string{got[0].Version, got[1].Version})
	assert.Equal(t, []string{"m@new"}, asked)
	assert.Empty(t, broken.texts)

	got = open().Get([]string{"m@live"}, ask)
	assert.Equal(t, "v2.0.0", got[0].Version, "what the go command says now")
	require.Len(t, broken.texts, 1)
	assert.Contains(t, broken.texts[0], "records it anew")

	t.Setenv(fullEnv, "1")
	open().Get([]string{"m@held"}, ask)
	assert.Len(t, broken.texts, 2)
	assert.Equal(t, []string{"m@new", "m@live", "m@held"}, asked)
}

// The recording is of the repositories as they are, and each kind of question is
// asked anew by some test.
func TestRecordingIsWhole(t *testing.T) {
	all, err := recording()
	require.NoError(t, err)
	live := make(map[string]int)
	for repo, refs := range all.live {
		for ref := range refs {
			live[kindOf(all.answers[repo][ref])]++
		}
	}
	for _, k := range kinds {
		found := 0
		for _, refused := range []string{"true", "false"} {
			for _, below := range []string{"true", "false"} {
				n := live[k.name+" "+refused+" "+below]
				assert.LessOrEqual(t, n, 1, "%s %s %s", k.name, refused, below)
				found += n
			}
		}
		assert.NotZero(t, found, "no test asks the go command for a %s", k.name)
	}
	for i, r := range Ready(t, ReadyNames()...) {
		name := "modtest-" + ReadyNames()[i]
		if len(r.Offers) > 0 {
			assert.NotNil(t, NewRecorded(t, name, r.State()).held, "%s is recorded in another state", name)
		}
	}
}
