package dns

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/gitopsd/gitopsd/internal/platform/durable"
)

// Zone is what the server is authoritative for.
const Zone = "gitopsd.internal."

// Name returns the name of a tenant's SRV records, without the final dot.
func Name(tenant string) string { return tenant + ".tenants.gitopsd.internal" }

// Records are one tenant's instances.
type Records struct {
	Tenant    string     `json:"tenant"`
	Instances []Instance `json:"instances"`
}

// Instance is one place where a tenant is served.
type Instance struct {
	Name string `json:"name"` // a DNS label, e.g. "acme-0"
	Addr string `json:"addr"` // IPv4
	Port int    `json:"port"`
}

// Write makes r the tenant's records, and reports whether that changed them.
func Write(dir string, r Records) (bool, error) {
	if err := r.check(r.Tenant); err != nil {
		return false, err
	}
	return durable.UpdateJSON(file(dir, r.Tenant), r, 0o600, durable.Owner{})
}

// Remove takes the tenant's records away. Having none is no error.
func Remove(dir, tenant string) error { return durable.Remove(file(dir, tenant)) }

// Present reports whether the tenant has a file of records.
func Present(dir, tenant string) (bool, error) {
	_, err := os.Lstat(file(dir, tenant))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

func file(dir, tenant string) string { return filepath.Join(dir, tenant+".json") }

// read returns the records in the tenant's file.
func read(dir, tenant string) (Records, error) {
	var r Records
	there, err := durable.ReadJSON(file(dir, tenant), &r)
	if err == nil && !there {
		err = fs.ErrNotExist
	}
	if err != nil {
		return r, err
	}
	return r, r.check(tenant)
}

func (r Records) check(tenant string) error {
	label := regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	if r.Tenant != tenant || !label.MatchString(tenant) {
		return fmt.Errorf("records of %q: tenant %q is not a DNS label that matches", tenant, r.Tenant)
	}
	for _, i := range r.Instances {
		addr, err := netip.ParseAddr(i.Addr)
		switch {
		case !label.MatchString(i.Name):
			return fmt.Errorf("records of %s: instance %q is not a DNS label", tenant, i.Name)
		case err != nil || !addr.Is4():
			return fmt.Errorf("records of %s: %q is not an IPv4 address", tenant, i.Addr)
		case i.Port < 1 || i.Port > 65535:
			return fmt.Errorf("records of %s: port %d is none", tenant, i.Port)
		}
	}
	return nil
}

// tenants returns the tenants that have a file in dir.
func tenants(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if ok && !strings.HasPrefix(name, ".") {
			names = append(names, name)
		}
	}
	return names, nil
}
