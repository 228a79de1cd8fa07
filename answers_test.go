package athens

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// Whatever answers consist of, all that they hold is within the bound.
func TestAnswersAreBoundedInBytes(t *testing.T) {
	const bound = 1 << 20
	long := func(i int, n int) string { return fmt.Sprint(i, strings.Repeat("x", n)) }
	for name, fresh := range map[string]func(i int) (question, answer){
		"infos": func(i int) (question, answer) {
			return question{OpQuery, "m", fmt.Sprint(i)}, answer{info: &Info{Version: "v1.0.0", Origin: &Origin{URL: long(i, 60_000), Ref: long(i, 9000)}}}
		},
		"missing": func(i int) (question, answer) {
			return question{OpQuery, "m", fmt.Sprint(i)}, answer{missing: &MissingError{Path: "m", Err: errors.New(long(i, 60_000))}}
		},
		"outages": func(i int) (question, answer) {
			return question{OpQuery, "m", fmt.Sprint(i)}, answer{err: fmt.Errorf("down: %w", &UnavailableError{Err: errors.New(long(i, 60_000))})}
		},
		"queries": func(i int) (question, answer) { return question{OpQuery, "m", long(i, 4000)}, answer{} },
		"paths":   func(i int) (question, answer) { return question{OpList, long(i, 4000), ""}, answer{} },
		"bodies": func(i int) (question, answer) {
			return question{OpSumDB, "m", fmt.Sprint(i)}, answer{body: make([]byte, 60_000)}
		},
		"lists": func(i int) (question, answer) {
			return question{OpList, fmt.Sprint(i), ""}, answer{versions: append(make([]string, 0, 4000), long(i, 9))}
		},
		"small": func(i int) (question, answer) { return question{OpList, fmt.Sprint(i), ""}, answer{at: time.Now()} },
	} {
		t.Run(name, func(t *testing.T) {
			as := newAnswers(t.Context(), &Options{AnswerCacheBytes: bound})
			before := heap()
			for i := range 1_000 {
				as.put(fresh(i))
			}
			assert.Less(t, heap()-before, int64(bound*3/2))
			runtime.KeepAlive(as)
		})
	}
}

// heap returns the bytes that are in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
