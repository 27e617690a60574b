package tenant

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// MinUID is the smallest user of a tenant: below are the image's and ours.
const MinUID = 10_000

func (c Config) validate() error {
	var errs []error
	if c.Tenant.Tenant == "" || len(c.Tenant.Hosts) == 0 {
		errs = append(errs, errors.New("tenant and hosts are needed"))
	}
	switch c.Edge {
	case EdgeDedicated, EdgeTenant:
	case EdgeWildcard:
		if len(c.Tenant.Hosts) > 1 {
			errs = append(errs, fmt.Errorf("edge %q has no certificate for %s", c.Edge, strings.Join(c.Tenant.Hosts[1:], ", ")))
		}
	default:
		errs = append(errs, errEdge)
	}
	if c.UID < MinUID {
		errs = append(errs, fmt.Errorf("uid %d is below %d", c.UID, MinUID))
	}
	for name, arn := range c.Secrets {
		if c.Shared.SecretPrefix == "" || !strings.HasPrefix(arn, c.Shared.SecretPrefix) {
			errs = append(errs, fmt.Errorf("secret %s is not below %s", name, c.Shared.SecretPrefix))
		}
	}
	return errors.Join(errs...)
}

// Hosts returns the hosts that are served: the platform's own, and, once there
// is a certificate for them, the tenant's domains.
func (c Config) Hosts() []string {
	var hosts []string
	for i, h := range c.Tenant.Hosts {
		if i == 0 || c.Certificate.ARN != "" && slices.Contains(c.Certificate.Hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}
