package serve

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"
)

// lines is the handler of [NewLogger]. Most lines consist of strings and numbers, which
// it formats itself; other has the same attributes and formats the rest.
type lines struct {
	out     *batch
	repeats *repeats
	level   slog.Leveler
	json    bool
	other   slog.Handler

	fixed  []byte // attributes of WithAttrs, formatted
	rarely bool   // only other can format them, or what comes after them
}

func (h *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

func (h *lines) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn && !h.repeats.isNew(h, r) {
		return nil
	}
	return h.write(ctx, r)
}

// HandleAttrs is Handle for a record with these attributes, of which nothing is kept.
// It is what [athens.Options].Logger looks for.
func (h *lines) HandleAttrs(ctx context.Context, t time.Time, level slog.Level, msg string, attrs []slog.Attr) error {
	if level < slog.LevelWarn && !h.rarely {
		b := h.out.buffer()
		defer h.out.buffers.Put(b)
		line, ok := h.begin((*b)[:0], t, level, msg)
		for i := 0; ok && i < len(attrs); i++ {
			line, ok = h.attr(line, attrs[i])
		}
		*b = line
		if ok {
			return h.end(b, level)
		}
	}
	r := slog.NewRecord(t, level, msg, 0)
	r.AddAttrs(attrs...)
	return h.Handle(ctx, r)
}

// write formats and writes a record.
func (h *lines) write(ctx context.Context, r slog.Record) error {
	if !h.rarely {
		b := h.out.buffer()
		defer h.out.buffers.Put(b)
		line, ok := h.begin((*b)[:0], r.Time, r.Level, r.Message)
		if ok {
			r.Attrs(func(a slog.Attr) bool {
				line, ok = h.attr(line, a)
				return ok
			})
		}
		*b = line
		if ok {
			return h.end(b, r.Level)
		}
	}
	err := h.other.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		h.out.flush()
	}
	return err
}

// begin appends what stands before the attributes of a record. It reports whether it
// could.
func (h *lines) begin(b []byte, t time.Time, level slog.Level, msg string) ([]byte, bool) {
	if t.IsZero() || t.Year() < 0 || t.Year() > 9999 {
		return b, false
	}
	if h.json {
		b = append(b, `{"time":"`...)
		b = t.AppendFormat(b, time.RFC3339Nano)
		b = append(b, `","level":"`...)
		b = append(b, level.String()...)
		b = append(b, `","msg":`...)
	} else {
		b = append(b, "time="...)
		b = appendMillis(b, t)
		b = append(b, " level="...)
		b = append(b, level.String()...)
		b = append(b, " msg="...)
	}
	b, ok := h.text(b, msg)
	return append(b, h.fixed...), ok
}

// end completes and writes a line.
func (h *lines) end(b *[]byte, level slog.Level) error {
	if h.json {
		*b = append(*b, '}')
	}
	*b = append(*b, '\n')
	_, err := h.out.Write(*b)
	if level >= slog.LevelWarn {
		h.out.flush()
	}
	return err
}

// appendMillis appends t as slog.TextHandler does.
func appendMillis(b []byte, t time.Time) []byte {
	const digits = len("2006-01-02T15:04:05.000")
	n := len(b)
	// RFC3339Nano is the fast one, and drops zeros at the end: add a digit, and take it away.
	b = t.Truncate(time.Millisecond).Add(time.Millisecond/10).AppendFormat(b, time.RFC3339Nano)
	return append(b[:n+digits], b[n+digits+1:]...)
}

// attr appends an attribute, if its value is plain.
func (h *lines) attr(b []byte, a slog.Attr) (_ []byte, ok bool) {
	if a.Key == "" {
		return b, false
	}
	if h.json {
		b = append(b, ',')
	} else {
		b = append(b, ' ')
	}
	if b, ok = h.text(b, a.Key); !ok {
		return b, false
	}
	if h.json {
		b = append(b, ':')
	} else {
		b = append(b, '=')
	}
	switch a.Value.Kind() {
	case slog.KindString:
		return h.text(b, a.Value.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, a.Value.Int64(), 10), true
	case slog.KindUint64:
		return strconv.AppendUint(b, a.Value.Uint64(), 10), true
	case slog.KindBool:
		return strconv.AppendBool(b, a.Value.Bool()), true
	case slog.KindFloat64:
		return h.float(b, a.Value.Float64())
	}
	return b, false
}

// float appends f, if text and JSON write it in the same way.
func (h *lines) float(b []byte, f float64) ([]byte, bool) {
	const most = 1e6 // from here on, text has an exponent
	if !(f < most) || math.Signbit(f) {
		return b, false // NaN is not less, and -0 has a sign
	}
	if thousand := f * 1000; thousand == math.Trunc(thousand) && float64(int64(thousand))/1000 == f {
		n := int64(thousand)
		b = strconv.AppendInt(b, n/1000, 10)
		if n %= 1000; n == 0 {
			return b, true
		}
		b = append(b, '.', byte('0'+n/100), byte('0'+n/10%10), byte('0'+n%10))
		for b[len(b)-1] == '0' {
			b = b[:len(b)-1]
		}
		return b, true
	}
	return b, false
}

// text appends a string, in quotes where the format wants some.
func (h *lines) text(b []byte, s string) ([]byte, bool) {
	if h.json {
		for i := range len(s) {
			if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf || c == 0x7f {
				return b, false
			}
		}
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"'), true
	}
	if quoted(s) {
		return strconv.AppendQuote(b, s), true
	}
	return append(b, s...), true
}

// quoted reports whether slog.TextHandler puts s into quotes.
func quoted(s string) bool {
	if s == "" {
		return true
	}
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c <= ' ' || c == '=' || c == '"' {
				return true
			}
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			return true
		}
		i += size
	}
	return false
}

func (h *lines) WithAttrs(attrs []slog.Attr) slog.Handler {
	if len(attrs) == 0 {
		return h
	}
	c := *h
	c.other = h.other.WithAttrs(attrs)
	c.fixed = append([]byte(nil), h.fixed...)
	for _, a := range attrs {
		ok := false
		if c.fixed, ok = c.attr(c.fixed, a); !ok {
			c.rarely = true
		}
	}
	return &c
}

func (h *lines) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	c := *h
	c.other, c.rarely = h.other.WithGroup(name), true
	return &c
}
