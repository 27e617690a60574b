package local

import (
	"context"

	"github.com/gitopsd/gitopsd/internal/platform"
)

// Condition implements platform.Platform. Here nobody else has to do anything.
func (d *Driver) Condition(_ context.Context, tenant string) (platform.Condition, error) {
	st, err := d.known(tenant)
	if err != nil {
		return platform.Condition{}, err
	}
	state := platform.DomainServed
	if st.Phase != running {
		state = platform.DomainPending
	}
	var c platform.Condition
	for _, host := range st.Config.Hosts {
		c.Domains = append(c.Domains, platform.Domain{Host: host, State: state})
	}
	return c, nil
}
