package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// logsCmd shows what a tenant's app writes.
type logsCmd struct {
	apiFlags
	Tenant string `arg:"" help:"Name of the tenant."`
	Follow bool   `help:"Go on as more is written." short:"f"`
}

// Run copies the output; with --follow until it is interrupted.
func (l *logsCmd) Run(ctx context.Context, t *terminal) error {
	c, err := l.connect()
	if err != nil {
		return err
	}
	p := apiPath("tenants", l.Tenant, "logs")
	if l.Follow {
		p += "?follow=true"
	}
	res, err := c.do(ctx, http.MethodGet, p, nil, nil)
	if err != nil {
		return quietly(ctx, err)
	}
	defer res.Body.Close()
	out := t.out
	if t.tty {
		safe := &cleanWriter{w: t.out}
		defer safe.Close()
		out = safe
	}
	if _, err := io.Copy(out, res.Body); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fault.Errorf(fault.Transient, "the daemon broke the stream off")
		}
		return quietly(ctx, fmt.Errorf("read logs of %s: %w", l.Tenant, err))
	}
	return nil
}

// quietly drops an error that is only the user's interrupt.
func quietly(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}
