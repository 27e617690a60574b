package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Config is what an edge process is started with.
type Config struct {
	Addr      string `json:"addr"`      // host:port browsers, or the CDN, connect to
	Admin     string `json:"admin"`     // host:port of /healthz, /metrics and /routes/<tenant>
	DNS       string `json:"dns"`       // host:port of the server that has the SRV records, or SystemDNS
	Routes    string `json:"routes"`    // directory with one file a tenant; made if it is missing and not remote
	KeyFile   string `json:"keyFile"`   // has the secret between the CDN's part and Caddy's
	AccessLog string `json:"accessLog"` // file, rotated beside itself; or Stdout
	Domain    string `json:"domain"`    // the platform's: <tenant>.<domain> is the tenant's alone

	// Secret is the one between the CDN's part and Caddy's, in place of KeyFile.
	Secret string `json:"secret,omitempty"`
	// Origin: the CDN is elsewhere, CloudFront. Requests come from it by a load
	// balancer, with the secret and the tenant's name; HealthPath is answered
	// without.
	Origin bool `json:"origin,omitempty"`
	// Remote: other hosts write the routes. They are looked at once a second.
	Remote bool `json:"remote,omitempty"`
	// Limits are those of a tenant whose route has none of its own.
	Limits Limits `json:"limits,omitzero"`
	// TLS is there if hosts are to be served by TLS as well.
	TLS *TLS `json:"tls,omitempty"`
}

const (
	// SystemDNS are the name servers of /etc/resolv.conf.
	SystemDNS = "system"
	// Stdout is the process's standard output.
	Stdout = "-"
)

// LoadConfig reads a Config from a JSON file. Unknown keys and missing values
// are fault.Invalid, a missing file is fault.NotFound.
func LoadConfig(path string) (Config, error) {
	var c Config
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, fault.Errorf(fault.NotFound, "edge configuration: %w", err)
	} else if err != nil {
		return c, fault.Errorf(fault.Transient, "edge configuration: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&c); err != nil {
		return c, fault.Errorf(fault.Invalid, "edge configuration %s: %w", path, err)
	}
	if err := c.validate(); err != nil {
		return c, fault.Errorf(fault.Invalid, "edge configuration %s: %w", path, err)
	}
	return c, nil
}

func (c Config) validate() error {
	for _, f := range []struct{ key, value string }{
		{"addr", c.Addr}, {"admin", c.Admin}, {"dns", c.DNS},
	} {
		if f.key == "dns" && f.value == SystemDNS {
			continue
		}
		if _, _, err := net.SplitHostPort(f.value); err != nil {
			return fault.Errorf(fault.Invalid, "%s: %q is not host:port", f.key, f.value)
		}
	}
	for _, f := range []struct{ key, value string }{
		{"routes", c.Routes}, {"keyFile", c.KeyFile + c.Secret}, {"accessLog", c.AccessLog}, {"domain", c.Domain},
	} {
		if f.value == "" {
			return fault.Errorf(fault.Invalid, "%s: missing", f.key)
		}
	}
	if err := c.TLS.Validate(); err != nil {
		return err
	}
	return c.Limits.Validate()
}

// minSecret is the shortest secret taken, in bytes.
const minSecret = 16

// readSecret returns the secret, from the key file if there is one.
func (c Config) readSecret() (string, error) {
	if c.KeyFile == "" {
		if len(c.Secret) < minSecret || !printable(c.Secret) {
			return "", fault.Errorf(fault.Invalid, "edge secret: want at least %d printable characters", minSecret)
		}
		return c.Secret, nil
	}
	b, err := os.ReadFile(c.KeyFile)
	if err != nil {
		return "", fault.Errorf(fault.Invalid, "edge key: %w", err)
	}
	key := strings.TrimSpace(string(b))
	if len(key) < minSecret || !printable(key) {
		return "", fault.Errorf(fault.Invalid, "edge key %s: want at least %d printable characters", c.KeyFile, minSecret)
	}
	return key, nil
}

// printable reports whether s can be a header's value as it is.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
