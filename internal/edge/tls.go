package edge

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"github.com/caddyserver/certmagic"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// TLS has the edge serve every host by TLS, too. A host's certificate is got when
// it is first asked for, and only for a host that a tenant has.
type TLS struct {
	Addr  string `json:"addr"`  // host:port browsers connect to
	Store string `json:"store"` // directory of certificates and keys; made if it is missing
	// CA is the directory URL of an ACME server that certificates are got from, for
	// hosts that are public names. The others, and without a CA all, get theirs
	// from an authority of the edge's own: <store>/pki/authorities/local/root.crt.
	CA    string `json:"ca,omitempty"`
	Email string `json:"email,omitempty"` // whom the CA tells of what is wrong
	Roots string `json:"roots,omitempty"` // PEM file of whom to trust as that CA; default: the system's
	// Redirect has plain HTTP lead to TLS.
	Redirect bool `json:"redirect,omitempty"`
}

// Validate returns what is wrong with it, as fault.Invalid.
func (t *TLS) Validate() error {
	if t == nil {
		return nil
	}
	if _, _, err := net.SplitHostPort(t.Addr); err != nil {
		return fault.Errorf(fault.Invalid, "tls.addr: %q is not host:port", t.Addr)
	}
	if !filepath.IsAbs(t.Store) {
		return fault.Errorf(fault.Invalid, "tls.store: %q is not an absolute path", t.Store)
	}
	if t.CA == "" {
		if t.Email != "" || t.Roots != "" {
			return fault.Errorf(fault.Invalid, "tls: email and roots are for a ca")
		}
		return nil
	}
	if u, err := url.Parse(t.CA); err != nil || u.Scheme != "https" || u.Host == "" {
		return fault.Errorf(fault.Invalid, "tls.ca: %q is not an https URL", t.CA)
	}
	return nil
}

// apps adds to Caddy's what serves TLS.
func (c Config) tlsApps(apps, servers object) {
	policies := []object{{"on_demand": true, "issuers": []object{{"module": "internal"}}}}
	if c.TLS.CA != "" {
		issuer := object{
			"module": "acme", "ca": c.TLS.CA, "email": c.TLS.Email,
			// Whatever leads from a host's ports 80 and 443 to this process leads to
			// these; nothing else is listened on.
			"challenges": object{
				"http":     object{"alternate_port": portOf(c.Addr)},
				"tls-alpn": object{"alternate_port": portOf(c.TLS.Addr)},
			},
		}
		if c.TLS.Roots != "" {
			issuer["trusted_roots_pem_files"] = []string{c.TLS.Roots}
		}
		public := []object{{"on_demand": true, "issuers": []object{issuer}}}
		if certmagic.SubjectQualifiesForPublicCert("tenant." + c.Domain) {
			policies = public
		} else {
			policies[0]["subjects"] = []string{"*." + c.Domain}
			policies = append(policies, public...)
		}
	}
	apps["tls"] = object{"automation": object{
		"policies": policies, "on_demand": object{"permission": object{"module": "gitopsd"}},
	}}
	apps["pki"] = object{"certificate_authorities": object{"local": object{"install_trust": false}}}
	secure := c.server(c.TLS.Addr)
	secure["protocols"] = []string{"h1", "h2"}
	secure["tls_connection_policies"] = []object{{}}
	servers["tls"] = secure
}

func portOf(addr string) int {
	_, port, _ := net.SplitHostPort(addr)
	n, _ := net.LookupPort("tcp", port)
	return n
}

// redirect returns where a plain request is led, to the same by TLS.
func (t *TLS) redirect(r *http.Request) string {
	host := bareHost(r.Host)
	if port := portOf(t.Addr); port != 443 {
		host = net.JoinHostPort(host, fmt.Sprint(port))
	}
	return "https://" + host + r.URL.RequestURI()
}

// permission is the module that says for which hosts certificates are got:
// tls.permission.gitopsd.
type permission struct{ table *table }

// CaddyModule returns the module's information.
func (permission) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.permission.gitopsd", New: func() caddy.Module { return new(permission) }}
}

// Provision finds the running edge.
func (p *permission) Provision(ctx caddy.Context) error {
	a, err := appOf(ctx)
	if err != nil {
		return err
	}
	p.table = a.table
	return nil
}

// CertificateAllowed allows the hosts that a tenant has.
func (p *permission) CertificateAllowed(_ context.Context, name string) error {
	if p.table.host(bareHost(name)) == nil {
		return fmt.Errorf("no tenant has %q: %w", name, caddytls.ErrPermissionDenied)
	}
	return nil
}

var _ caddytls.OnDemandPermission = (*permission)(nil)
