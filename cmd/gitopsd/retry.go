package main

import (
	"context"
	"fmt"
	"net/http"
)

// retryCmd tries again what failed last.
type retryCmd struct {
	apiFlags
	Tenant string `arg:"" help:"Name of the tenant."`
}

// Run asks for it; the daemon does it when there is room.
func (r *retryCmd) Run(ctx context.Context, t *terminal) error {
	c, err := r.connect()
	if err != nil {
		return err
	}
	var answer struct{ Tenant string }
	if err := c.send(ctx, http.MethodPost, apiPath("tenants", r.Tenant, "retry"), nil, &answer); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "trying %s again\n", answer.Tenant)
	fmt.Fprintf(t.err, "see how it goes with: gitopsd describe %s\n", answer.Tenant)
	return nil
}
