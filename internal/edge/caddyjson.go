package edge

import (
	"encoding/json"
	"time"
)

// What Caddy is configured with, as JSON. Durations are Go's, as Caddy reads
// them.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10 // CloudFront's bound of a request without its body
	originHeaderBytes = 64 << 10 // with what CloudFront and a load balancer add
	drainTimeout      = 10 * time.Second

	dialTimeout = 2 * time.Second
	// answerTimeout bounds the wait for an app's response headers.
	answerTimeout = time.Minute
	// upstreamIdle must stay below the agents' own idle timeout, so that no
	// request is sent on a connection that the agent is just closing.
	upstreamIdle = 30 * time.Second
	// A request that reached no instance is tried again, at others if there
	// are any, for so long and so often.
	tryFor   = 2 * time.Second
	tryEvery = 25 * time.Millisecond
)

type object = map[string]any

// caddyConfig returns the configuration of the process's Caddy. It depends on
// nothing that a tenant can change: tenants are in the table.
func caddyConfig(c Config) ([]byte, error) {
	servers := object{"edge": c.server(c.Addr)}
	apps := object{
		"gitopsd": c,
		"tls":     object{"disable_storage_clean": true}, // there are no certificates to look after
		"http":    object{"grace_period": drainTimeout.String(), "servers": servers},
	}
	config := object{
		"admin": object{"disabled": true, "config": object{"persist": false}},
		"logging": object{"logs": object{"default": object{
			"level": "WARN",
			// It would encode each request for a logger that says nothing.
			// What fails is logged by the CDN's part.
			"exclude": []string{"http.handlers.reverse_proxy", "admin"},
		}}},
		"apps": apps,
	}
	if c.TLS != nil {
		config["storage"] = object{"module": "file_system", "root": c.TLS.Store}
		c.tlsApps(apps, servers)
	}
	return json.MarshalIndent(config, "", "\t")
}

// server returns the server of one address.
func (c Config) server(addr string) object {
	headerBytes := maxHeaderBytes
	if c.Origin {
		headerBytes = originHeaderBytes
	}
	return object{
		"listen":              []string{addr},
		"protocols":           []string{"h1"},
		"automatic_https":     object{"disable": true},
		"read_header_timeout": readHeaderTimeout.String(),
		"idle_timeout":        idleTimeout.String(),
		"max_header_bytes":    headerBytes,
		"routes": []object{{
			"handle": []object{
				{
					"handler":   "encode", // what the app encoded itself stays as it is
					"encodings": object{"zstd": object{}, "gzip": object{}}, "prefer": []string{"zstd", "gzip"},
				},
				{"handler": "gitopsd_front"},
				{"handler": "gitopsd_gate"},
				proxy(),
			},
		}},
	}
}

// proxy returns the proxy to the tenants' instances.
func proxy() object {
	return object{
		"handler":           "reverse_proxy",
		"dynamic_upstreams": object{"source": "tenants"},
		"load_balancing": object{
			"selection_policy": object{"policy": "first"}, // there is never more than one
			"try_duration":     tryFor.String(),
			"try_interval":     tryEvery.String(),
			// Of the requests that an instance may have seen, only those that
			// mean the same twice are sent again, and once.
			"retry_match": []object{{"gitopsd_again": object{}}},
		},
		"transport": object{
			"protocol":                 "http",
			"versions":                 []string{"1.1"},
			"compression":              false, // what the app says passes as it is
			"network_proxy":            object{"from": "none"},
			"dial_timeout":             dialTimeout.String(),
			"response_header_timeout":  answerTimeout.String(),
			"max_response_header_size": 256 << 10,
			"keep_alive": object{
				"idle_timeout":            upstreamIdle.String(),
				"max_idle_conns_per_host": 256,
			},
		},
	}
}
