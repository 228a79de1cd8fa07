package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math"
	"strings"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the handler of athens.Options.Logger may have.
var _ interface {
	HandleAttrs(ctx context.Context, t time.Time, level slog.Level, msg string, attrs []slog.Attr) error
} = (*lines)(nil)

// requestLine are the attributes of a request's line.
var requestLine = []slog.Attr{
	slog.String("module", "example.com/some/module"), slog.String("version", "v1.23.4"), slog.String("file", "zip"),
	slog.String("outcome", "held"), slog.String("source", "store"), slog.Int("status", 200), slog.Int64("bytes", 102400),
	slog.Float64("ms", 0.387), slog.String("client", "192.0.2.17"),
}

func TestLogHandlerContract(t *testing.T) {
	for name, json := range map[string]bool{"text": false, "JSON": true} {
		t.Run(name, func(t *testing.T) {
			var text bytes.Buffer
			log, flush := NewLogger(&text, &LogOptions{JSON: json})
			require.NoError(t, slogtest.TestHandler(log.Handler(), func() []map[string]any {
				flush()
				return parseLines(t, text.String(), json)
			}))
		})
	}
}

// parseLines reads log lines; dots in the keys of text are groups.
func parseLines(t *testing.T, text string, isJSON bool) (all []map[string]any) {
	for line := range strings.Lines(text) {
		entry := map[string]any{}
		if isJSON {
			require.NoError(t, json.Unmarshal([]byte(line), &entry))
		} else {
			for _, pair := range strings.Fields(line) {
				key, value, _ := strings.Cut(pair, "=")
				at, groups := entry, strings.Split(key, ".")
				for _, group := range groups[:len(groups)-1] {
					if at[group] == nil {
						at[group] = map[string]any{}
					}
					at = at[group].(map[string]any)
				}
				at[groups[len(groups)-1]] = value
			}
		}
		all = append(all, entry)
	}
	return all
}

// Lines are those of the standard library's handlers, byte for byte.
func FuzzLogLine(f *testing.F) {
	f.Add("request", "module", "example.com/m", int64(200), 0.387, int64(1e18))
	f.Add("two words", "a=b", "\x00\x7f\"\\\n é\u2028\u200e\xff", int64(-1), math.Copysign(0, -1), int64(0))
	f.Add("", "", "", int64(math.MinInt64), math.Inf(1), int64(999_900_000))
	f.Add("<&>", "k", "back\\slash", int64(1), 1e6, int64(1))
	f.Add("m", "k", "v", int64(1), math.NaN(), int64(1))
	f.Add("m", "k", "v", int64(1), 999999.999, int64(1))
	f.Add("m", "k", "v", int64(1), 1e-7, int64(1))
	f.Fuzz(func(t *testing.T, msg, key, value string, n int64, x float64, ns int64) {
		at := time.Unix(1_700_000_000, ns)
		attrs := []slog.Attr{slog.String(key, value), slog.Int64("n", n), slog.Float64("x", x), slog.Bool("b", n > 0), slog.Uint64("u", uint64(n))}
		for _, isJSON := range []bool{false, true} {
			var got, want bytes.Buffer
			log, flush := NewLogger(&got, &LogOptions{JSON: isJSON})
			var std slog.Handler = slog.NewTextHandler(&want, nil)
			if isJSON {
				std = slog.NewJSONHandler(&want, nil)
			}
			r := slog.NewRecord(at, slog.LevelInfo, msg, 0)
			r.AddAttrs(attrs...)
			for _, with := range [][]slog.Attr{nil, {slog.String("fixed", value)}, {slog.Any("any", errors.New(value))}} {
				require.NoError(t, log.Handler().WithAttrs(with).Handle(t.Context(), r))
				require.NoError(t, std.WithAttrs(with).Handle(t.Context(), r))
			}
			require.NoError(t, log.Handler().(*lines).HandleAttrs(t.Context(), at, slog.LevelInfo, msg, attrs))
			require.NoError(t, std.Handle(t.Context(), r))
			flush()
			require.Equal(t, want.String(), got.String())
		}
	})
}

func TestLogLineCostsNoAllocation(t *testing.T) {
	for _, isJSON := range []bool{false, true} {
		log, flush := NewLogger(io.Discard, &LogOptions{JSON: isJSON})
		defer flush()
		h, at := log.Handler().(*lines), time.Now()
		assert.Less(t, testing.AllocsPerRun(1000, func() {
			_ = h.HandleAttrs(context.Background(), at, slog.LevelInfo, "request", requestLine)
		}), 1.0)
	}
}

func TestLogLevel(t *testing.T) {
	var text bytes.Buffer
	log, flush := NewLogger(&text, &LogOptions{Level: slog.LevelWarn})
	log.Info("no")
	log.Warn("yes")
	flush()
	assert.Equal(t, 1, strings.Count(text.String(), "\n"), text.String())
	assert.Contains(t, text.String(), "msg=yes")
}

func BenchmarkLogLine(b *testing.B) {
	for name, isJSON := range map[string]bool{"text": false, "json": true} {
		b.Run(name, func(b *testing.B) {
			log, flush := NewLogger(io.Discard, &LogOptions{JSON: isJSON})
			defer flush()
			h := log.Handler().(*lines)
			b.ReportAllocs()
			for b.Loop() {
				_ = h.HandleAttrs(b.Context(), time.Now(), slog.LevelInfo, "request", requestLine)
			}
		})
		b.Run("slog-"+name, func(b *testing.B) {
			var h slog.Handler = slog.NewTextHandler(&batch{w: io.Discard}, nil)
			if isJSON {
				h = slog.NewJSONHandler(&batch{w: io.Discard}, nil)
			}
			log := slog.New(h)
			b.ReportAllocs()
			for b.Loop() {
				log.LogAttrs(b.Context(), slog.LevelInfo, "request", requestLine...)
			}
		})
	}
}
