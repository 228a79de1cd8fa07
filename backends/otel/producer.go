package otel

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/athens-go/athens/serve/metrics"
)

// Producer returns m as a producer, for a reader of one's own:
//
//	reader := metric.NewPeriodicReader(exporter, metric.WithProducer(otel.Producer(m)))
func Producer(m *metrics.Metrics) metric.Producer { return producer{m, time.Now()} }

type producer struct {
	metrics *metrics.Metrics
	began   time.Time
}

// Produce reads all metrics.
func (p producer) Produce(ctx context.Context) ([]metricdata.ScopeMetrics, error) {
	s := metricdata.ScopeMetrics{Scope: instrumentation.Scope{Name: scope}}
	now := time.Now()
	for _, f := range p.metrics.Gather(ctx) {
		if len(f.Samples) > 0 {
			s.Metrics = append(s.Metrics, metricdata.Metrics{Name: f.Name, Description: f.Help, Unit: f.Unit, Data: p.data(f, now)})
		}
	}
	return []metricdata.ScopeMetrics{s}, nil
}

// data converts the samples of a family.
func (p producer) data(f metrics.Family, now time.Time) metricdata.Aggregation {
	if f.Kind == metrics.KindHistogram {
		h := metricdata.Histogram[float64]{Temporality: metricdata.CumulativeTemporality}
		for _, s := range f.Samples {
			point := metricdata.HistogramDataPoint[float64]{
				Attributes: attributes(s.Labels), StartTime: p.began, Time: now,
				Bounds: metrics.Bounds(), BucketCounts: s.Buckets, Sum: s.Value,
			}
			for _, n := range s.Buckets {
				point.Count += n
			}
			h.DataPoints = append(h.DataPoints, point)
		}
		return h
	}
	points := make([]metricdata.DataPoint[float64], len(f.Samples))
	for i, s := range f.Samples {
		points[i] = metricdata.DataPoint[float64]{Attributes: attributes(s.Labels), StartTime: p.began, Time: now, Value: s.Value}
	}
	if f.Kind == metrics.KindCounter {
		return metricdata.Sum[float64]{DataPoints: points, Temporality: metricdata.CumulativeTemporality, IsMonotonic: true}
	}
	return metricdata.Gauge[float64]{DataPoints: points}
}

// attributes leaves out labels that do not apply.
func attributes(labels []metrics.Label) attribute.Set {
	var all []attribute.KeyValue
	for _, l := range labels {
		if l.Value != "" {
			all = append(all, attribute.String(l.Name, l.Value))
		}
	}
	return attribute.NewSet(all...)
}
