package app

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seed-f47efad2/cordon/internal/action"
	"github.com/seed-f47efad2/cordon/internal/connector"
	"github.com/seed-f47efad2/cordon/internal/dispatch"
	"github.com/seed-f47efad2/cordon/internal/identity"
	"github.com/seed-f47efad2/cordon/internal/ingest"
)

// metrics are the process's counters, in a registry of their own. They hold no
// names of people; tenants are ids.
type metrics struct {
	registry *prometheus.Registry
	decided  *prometheus.CounterVec
	left     *prometheus.HistogramVec
	sent     *prometheus.CounterVec
	took     *prometheus.HistogramVec
	settled  *prometheus.CounterVec
	proof    *prometheus.HistogramVec
	owner    *prometheus.GaugeVec
	signals  *prometheus.CounterVec
	polls    *prometheus.CounterVec
	silent   *prometheus.GaugeVec
	heard    *prometheus.GaugeVec
}

var _ dispatch.Meter = (*metrics)(nil)

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		decided:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cordon_gate_decisions_total", Help: "Decisions of the last gate, by action, verdict and rule."}, []string{"action", "verdict", "rule"}),
		left:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cordon_dispatch_wait_seconds", Help: "From approved to the request leaving.", Buckets: prometheus.ExponentialBuckets(0.002, 2, 16)}, []string{"action"}),
		sent:     prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cordon_actions_sent_total", Help: "What the directory answered, per target."}, []string{"action", "answer"}),
		took:     prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cordon_action_request_seconds", Help: "How long the directory took to answer.", Buckets: prometheus.ExponentialBuckets(0.002, 2, 14)}, []string{"action"}),
		settled:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cordon_actions_settled_total", Help: "Actions that were verified, unconfirmed or failed."}, []string{"action", "state"}),
		proof:    prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "cordon_action_proof_seconds", Help: "From the intent to the proof.", Buckets: prometheus.ExponentialBuckets(0.05, 2, 16)}, []string{"action"}),
		owner:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "cordon_dispatch_owner", Help: "1 while this process dispatches for the tenant."}, []string{"tenant"}),
		signals:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cordon_signals_total", Help: "What reading brought, by stream and outcome."}, []string{"tenant", "stream", "outcome"}),
		polls:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cordon_polls_total", Help: "Readings of streams, by result."}, []string{"tenant", "stream", "result"}),
	}
	feed := []string{"tenant", "stream"}
	m.silent = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "cordon_feed_silent", Help: "1 while a feed that should be heard is not."}, feed)
	m.heard = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "cordon_feed_heard_timestamp_seconds", Help: "When a feed was last heard, in seconds since 1970."}, feed)
	m.registry.MustRegister(m.decided, m.left, m.sent, m.took, m.settled, m.proof, m.owner, m.signals, m.polls, m.silent, m.heard,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Decided is dispatch.Meter's.
func (m *metrics) Decided(n action.Name, v dispatch.Verdict, r dispatch.Rule) {
	m.decided.WithLabelValues(string(n), string(v), string(r)).Inc()
}

// Left is dispatch.Meter's.
func (m *metrics) Left(n action.Name, waited time.Duration) {
	m.left.WithLabelValues(string(n)).Observe(waited.Seconds())
}

// Sent is dispatch.Meter's.
func (m *metrics) Sent(n action.Name, v action.Verdict, took time.Duration) {
	m.sent.WithLabelValues(string(n), string(v)).Inc()
	m.took.WithLabelValues(string(n)).Observe(took.Seconds())
}

// Settled is dispatch.Meter's.
func (m *metrics) Settled(n action.Name, s action.State, took time.Duration) {
	m.settled.WithLabelValues(string(n), string(s)).Inc()
	m.proof.WithLabelValues(string(n)).Observe(took.Seconds())
}

// Owner is dispatch.Meter's.
func (m *metrics) Owner(t identity.Tenant, owner bool) {
	v := 0.0
	if owner {
		v = 1
	}
	m.owner.WithLabelValues(string(t)).Set(v)
}

func (m *metrics) polled(t identity.Tenant, stream string, r ingest.Result) {
	m.polls.WithLabelValues(string(t), stream, "ok").Inc()
	for outcome, n := range map[string]int{"new": r.New, "updated": r.Updated, "duplicate": r.Duplicate, "older": r.Older, "rejected": r.Rejected} {
		m.signals.WithLabelValues(string(t), stream, outcome).Add(float64(n))
	}
}

// feeds shows how the feeds that this process watches fare.
func (m *metrics) feeds(states []connector.FeedState) {
	m.silent.Reset()
	m.heard.Reset()
	for _, s := range states {
		silent := 0.0
		if s.Silent {
			silent = 1
		}
		m.silent.WithLabelValues(string(s.Tenant), string(s.Stream)).Set(silent)
		if !s.Success.IsZero() {
			m.heard.WithLabelValues(string(s.Tenant), string(s.Stream)).Set(float64(s.Success.Unix()))
		}
	}
}

// listener shows what a listener of syslog could not take.
func (m *metrics) listener(t identity.Tenant, feed connector.Name, lost, refused func() int64) {
	labels := prometheus.Labels{"tenant": string(t), "stream": string(feed)}
	for _, c := range []struct {
		name, help string
		count      func() int64
	}{
		{"cordon_syslog_lost_total", "Messages that came by UDP faster than they were stored.", lost},
		{"cordon_syslog_refused_total", "Connections and datagrams from elsewhere, or too many.", refused},
	} {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: c.name, Help: c.help, ConstLabels: labels},
			func() float64 { return float64(c.count()) }))
	}
}

func (m *metrics) pollFailed(t identity.Tenant, stream string) {
	m.polls.WithLabelValues(string(t), stream, "failed").Inc()
}
