package metrics

import (
	"bytes"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// ServeHTTP answers with all metrics as text, in Prometheus' exposition format 0.0.4.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var b bytes.Buffer
	for _, f := range m.Gather(r.Context()) {
		f.write(&b)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes()) // the client may have gone
}

// Prometheus returns the name of the family there: with underscores, its unit and, for a
// counter, "_total".
func (f *Family) Prometheus() string {
	name := strings.ReplaceAll(f.Name, ".", "_")
	unit := map[string]string{"s": "_seconds", "By": "_bytes"}[f.Unit]
	if !strings.HasSuffix(name, unit) {
		name += unit
	}
	if f.Kind == KindCounter {
		name += "_total"
	}
	return name
}

// write appends the family as text.
func (f *Family) write(b *bytes.Buffer) {
	if len(f.Samples) == 0 {
		return
	}
	name := f.Prometheus()
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, helpText.Replace(f.Help), name, f.Kind)
	for _, s := range f.Samples {
		if f.Kind != KindHistogram {
			writeSample(b, name, s.Labels, s.Value)
			continue
		}
		var n uint64
		for i, count := range s.Buckets {
			n += count
			end := math.Inf(1)
			if i < len(bounds) {
				end = bounds[i].Seconds()
			}
			writeSample(b, name+"_bucket", append(s.Labels[:len(s.Labels):len(s.Labels)], Label{"le", number(end)}), float64(n))
		}
		writeSample(b, name+"_sum", s.Labels, s.Value)
		writeSample(b, name+"_count", s.Labels, float64(n))
	}
}

var (
	helpText   = strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	labelValue = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`)
)

func writeSample(b *bytes.Buffer, name string, labels []Label, v float64) {
	b.WriteString(name)
	for i, l := range labels {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(strings.ReplaceAll(l.Name, ".", "_"))
		b.WriteString(`="`)
		b.WriteString(labelValue.Replace(l.Value))
		b.WriteByte('"')
	}
	if len(labels) > 0 {
		b.WriteByte('}')
	}
	b.WriteByte(' ')
	b.WriteString(number(v))
	b.WriteByte('\n')
}

// number is v as Prometheus reads it.
func number(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
