package main

import (
	"strings"

	"github.com/gitopsd/gitopsd/internal/edge"
	"github.com/gitopsd/gitopsd/internal/platform/local"
)

// edgeTLS has tenants served by TLS as well, on this machine.
type edgeTLS struct {
	Addr     string `yaml:"addr"`     // none: no TLS
	CA       string `yaml:"ca"`       // directory URL of an ACME server
	Email    string `yaml:"email"`    // whom that tells of what is wrong
	Roots    string `yaml:"roots"`    // PEM file of whom to trust as that server; else the system's
	Redirect bool   `yaml:"redirect"` // plain HTTP leads to TLS
}

// edgeLimits bound what one tenant takes of the edge; 0: as the edge has it.
type edgeLimits struct {
	Rate       float64 `yaml:"rate"` // requests a second
	Burst      int     `yaml:"burst"`
	Concurrent int     `yaml:"concurrent"`
	Body       int64   `yaml:"body"` // bytes
}

// checkEdge finds what the edge would refuse.
func (c config) checkEdge(f *yamlFile) error {
	l := edge.Limits(c.EdgeLimits)
	if err := l.Validate(); err != nil {
		return f.wrong("edgeLimits", "%v", err)
	}
	if !f.has("edgeTLS") {
		return nil
	}
	t := edge.TLS{Addr: c.EdgeTLS.Addr, Store: "/", CA: c.EdgeTLS.CA, Email: c.EdgeTLS.Email, Roots: c.EdgeTLS.Roots}
	if err := t.Validate(); err != nil {
		return f.wrong("edgeTLS", "%s", strings.TrimPrefix(err.Error(), "tls."))
	}
	return nil
}

// localEdge is the same in the platform's words.
func (c config) localEdge() (*local.EdgeTLS, local.EdgeLimits) {
	if c.EdgeTLS.Addr == "" {
		return nil, local.EdgeLimits(c.EdgeLimits)
	}
	t := local.EdgeTLS(c.EdgeTLS)
	return &t, local.EdgeLimits(c.EdgeLimits)
}
