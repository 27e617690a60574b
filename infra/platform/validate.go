package platform

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"

	"github.com/gitopsd/gitopsd/internal/fault"
)

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]$`)
	cellForm    = regexp.MustCompile(`^[a-z][a-z0-9]{0,11}$`)
)

// minSecret is the shortest secret of the origin, in bytes.
const minSecret = 32

// Validate says what is missing or cannot be; its errors are fault.Invalid.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(accountForm.MatchString(c.Account), "account %q is not 12 digits", c.Account)
	check(regionForm.MatchString(c.Region), "region %q is none", c.Region)
	check(cellForm.MatchString(c.Cell), "cell %q: want a letter, then at most 11 letters and digits", c.Cell)
	check(c.Domain != "", "domain is missing")
	check(len(c.OriginSecret) >= minSecret, "the origin's secret is shorter than %d", minSecret)
	prefix, err := netip.ParsePrefix(c.Network.CIDR)
	check(err == nil && prefix.Addr().Is4() && prefix.Bits() == 16, "network %q is not an IPv4 /16", c.Network.CIDR)
	check(len(c.Network.Zones) >= 2 && len(c.Network.Zones) <= 3, "want 2 or 3 availability zones, got %d", len(c.Network.Zones))
	check(c.Compute.Min >= 0 && c.Compute.Max >= max(1, c.Compute.Min), "instances: %d to %d", c.Compute.Min, c.Compute.Max)
	check(len(c.Compute.InstanceTypes) > 0 && c.Compute.Image != "", "instance types and image are needed")
	check(c.Compute.TargetPercent > 0 && c.Compute.TargetPercent <= 100, "target of %d %%", c.Compute.TargetPercent)
	check(c.Database.MinCapacity <= c.Database.MaxCapacity && c.Database.MaxCapacity >= 1, "database: %v to %v units", c.Database.MinCapacity, c.Database.MaxCapacity)
	check(!c.Daemon || c.Control != "", "the daemon is told nothing to follow")
	check(c.Cache.Replicas >= 1, "cache: fail-over needs a replica")
	if len(errs) > 0 {
		return fault.Errorf(fault.Invalid, "cell %s: %w", c.Cell, errors.Join(errs...))
	}
	return nil
}
