package edge

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// status is the edge's own endpoint: /healthz, /metrics; /routes/<tenant>, by
// which the platform sees that a route has taken effect; and /load, by which it
// sees how many instances a tenant needs.
func (a *app) status() *http.Server {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&metrics{a},
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		tenants, ready := a.table.size()
		writeJSON(w, http.StatusOK, map[string]any{"status": "ok", "tenants": tenants, "instances": ready})
	})
	mux.HandleFunc("GET /routes/{tenant}", func(w http.ResponseWriter, r *http.Request) {
		e := a.table.tenant(r.PathValue("tenant"))
		if e == nil {
			writeJSON(w, http.StatusNotFound, map[string]any{"error": "no such route"})
			return
		}
		writeJSON(w, http.StatusOK, e.state(a.table))
	})
	mux.HandleFunc("GET /load", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, a.table.load())
	})
	return &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
}

// RouteState is what an edge does with a route: the answer of /routes/<tenant>.
// It has no secret.
type RouteState struct {
	Tenant    string   `json:"tenant"`
	Serial    uint64   `json:"serial"`
	Hosts     []string `json:"hosts"` // those the tenant asks for and owns
	Static    string   `json:"static"`
	Instances []string `json:"instances"` // host:port, ready, best first
	State     State    `json:"state,omitempty"`
	InFlight  int64    `json:"inFlight"`
}

// Load is what a tenant's requests are up to: part of the answer of /load, which
// has the tenants with a request under way by name.
type Load struct {
	InFlight int64 `json:"inFlight"`
	Waiting  int64 `json:"waiting"` // those without an answer so far: no stream is among them
}

func (t *table) load() map[string]Load {
	all := map[string]Load{}
	for name, e := range t.index.Load().tenants {
		if n := e.inFlight.Load(); n > 0 {
			all[name] = Load{n, e.waiting.Load()}
		}
	}
	return all
}

func (e *entry) state(t *table) RouteState {
	r := e.route.Load()
	s := RouteState{Tenant: e.tenant, Serial: r.Serial, Static: r.Static, State: r.State, Hosts: []string{}, Instances: []string{}, InFlight: e.inFlight.Load()}
	for _, h := range r.Hosts {
		if t.owns(e, h) {
			s.Hosts = append(s.Hosts, h)
		}
	}
	if set := e.instances.Load(); set != nil {
		for _, in := range set.all {
			s.Instances = append(s.Instances, in.addr)
		}
	}
	return s
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// metrics reads the edge's counters when they are asked for.
type metrics struct{ app *app }

// Describe sends nothing: what there is changes with the tenants.
func (*metrics) Describe(chan<- *prometheus.Desc) {}

// Collect sends the counters. Tenants and classes without a request are left
// out, so that ten thousand idle tenants cost nothing.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	a := m.app
	send := func(kind prometheus.ValueType, name, help string, value float64) {
		ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, nil, nil), kind, value)
	}
	tenants, ready := a.table.size()
	send(prometheus.GaugeValue, "gitopsd_edge_tenants", "Tenants with a route.", float64(tenants))
	send(prometheus.GaugeValue, "gitopsd_edge_instances", "Ready instances of all tenants.", float64(ready))
	send(prometheus.GaugeValue, "gitopsd_edge_connections", "Open connections of viewers, without upgraded ones.",
		float64(a.connections.count()))
	if c := a.front.cdn; c != nil {
		send(prometheus.GaugeValue, "gitopsd_edge_function_outcomes", "Outcomes of the functions that are remembered.",
			float64(c.request.size()+c.response.size()))
	}
	send(prometheus.CounterValue, "gitopsd_edge_unknown_host_total", "Requests for a host that no tenant has.",
		float64(a.front.unknown.Load()))
	send(prometheus.CounterValue, "gitopsd_edge_dns_queries_total", "SRV records asked for.", float64(a.resolver.queries.Load()))
	send(prometheus.CounterValue, "gitopsd_edge_dns_errors_total", "SRV records not answered for.", float64(a.resolver.errors.Load()))
	send(prometheus.CounterValue, "gitopsd_edge_route_errors_total", "Route files refused or not readable.",
		float64(a.watcher.errors.Load()))
	send(prometheus.CounterValue, "gitopsd_edge_access_log_lost_total", "Lines of the access log let go.",
		float64(a.access.lost()))
	requests := prometheus.NewDesc("gitopsd_edge_requests_total", "Requests by tenant and class of status code.",
		[]string{"tenant", "class"}, nil)
	inFlight := prometheus.NewDesc("gitopsd_edge_requests_in_flight", "Requests under way by tenant.", []string{"tenant"}, nil)
	refused := prometheus.NewDesc("gitopsd_edge_refused_total", "Requests over a limit by tenant and limit.", []string{"tenant", "limit"}, nil)
	took := prometheus.NewDesc("gitopsd_edge_request_seconds", "How long requests took by tenant.", []string{"tenant"}, nil)
	for name, e := range a.table.index.Load().tenants {
		if n := e.inFlight.Load(); n > 0 {
			ch <- prometheus.MustNewConstMetric(inFlight, prometheus.GaugeValue, float64(n), name)
		}
		for kind := range e.refused {
			if n := e.refused[kind].Load(); n > 0 {
				ch <- prometheus.MustNewConstMetric(refused, prometheus.CounterValue, float64(n), name, refusalNames[kind])
			}
		}
		if buckets, n, sum := e.histogram(); n > 0 {
			ch <- prometheus.MustNewConstHistogram(took, n, sum, buckets, name)
		}
		for class := range e.requests {
			if n := e.requests[class].Load(); n > 0 {
				ch <- prometheus.MustNewConstMetric(requests, prometheus.CounterValue, float64(n), name, strconv.Itoa(class)+"xx")
			}
		}
	}
}
