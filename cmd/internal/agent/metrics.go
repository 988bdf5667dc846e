package agent

import (
	"net/http"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metric is one that Prometheus is told. scripts/monitoring/README.md lists them all.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

// sample tells the value of a metric, and what its labels are.
type sample func(m metric, value float64, labels ...string)

// maxScrapes is how many may be under way.
const maxScrapes = 4

// metrics answers Prometheus.
func (s *standing) metrics() http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(s, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
}

// Describe implements [prometheus.Collector]. What there is to tell depends on the
// configuration.
func (*standing) Describe(chan<- *prometheus.Desc) {}

// Collect implements [prometheus.Collector].
func (s *standing) Collect(ch chan<- prometheus.Metric) {
	tell := func(m metric, value float64, labels ...string) {
		for i := range labels {
			labels[i] = strings.ToValidUTF8(labels[i], "\ufffd") // paths may be anything
		}
		told, err := prometheus.NewConstMetric(m.desc, m.kind, value, labels...)
		if err != nil {
			told = prometheus.NewInvalidMetric(m.desc, err)
		}
		ch <- told
	}
	s.tellAgent(tell)
	if seen := s.lookout.last.Load(); seen != nil {
		tellSight(tell, seen)
	}
	if notes := s.lookout.notes.Load(); notes != nil {
		tellRecords(tell, notes)
	}
	if node := s.ipfs.node.Load(); node != nil {
		tellIPFS(tell, node.Stats())
	}
}

var (
	metricBuildInfo     = gauge("qsync_build_info", "What program this is; always 1.", "version", "go_version")
	metricAgentReady    = gauge("qsync_agent_ready", "Whether /readyz says ok.")
	metricLoopTime      = gauge("qsync_agent_loop_timestamp_seconds", "When the agent's loop was last known to live.")
	metricReloadSuccess = gauge("qsync_config_reload_success", "Whether the configuration that was read last is used.")
	metricReloadTime    = gauge("qsync_config_reload_timestamp_seconds", "When a configuration was read last.")
)

func (s *standing) tellAgent(tell sample) {
	tell(metricBuildInfo, 1, s.version, runtime.Version())
	tell(metricAgentReady, truth(s.unready() == ""))
	tell(metricLoopTime, float64(s.pulse.last.Load()))
	tell(metricReloadSuccess, truth(!s.refused.Load()))
	tell(metricReloadTime, float64(s.loaded.Load()))
}

func truth(is bool) float64 {
	if is {
		return 1
	}
	return 0
}
