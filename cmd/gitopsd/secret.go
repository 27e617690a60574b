package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"

	"golang.org/x/term"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
)

// secretCmd keeps the values of secrets, which are in no file.
type secretCmd struct {
	Set secretSetCmd `cmd:"" help:"Set a value, read from standard input."`
}

type secretSetCmd struct {
	apiFlags
	Tenant string `arg:"" help:"Name of the tenant."`
	Name   string `arg:"" help:"Name of the secret, such as STRIPE_KEY."`
}

// maxSecret is what the daemon takes, in bytes.
const maxSecret = 64 << 10

// Run reads the value and sends it.
func (s *secretSetCmd) Run(ctx context.Context, t *terminal) error {
	c, err := s.connect()
	if err != nil {
		return err
	}
	value, err := t.readSecret("value of " + s.Name + ": ")
	if err != nil {
		return err
	}
	var stored console.Stored
	if err := c.send(ctx, http.MethodPut, apiPath("tenants", s.Tenant, "secrets", s.Name), value, &stored); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "set %s of %s\n", stored.Name, stored.Tenant)
	switch {
	case !stored.Known:
		fmt.Fprintf(t.err, "note: there is no tenant %s yet\n", stored.Tenant)
	case !stored.Wanted:
		fmt.Fprintf(t.err, "note: the file of %s does not name it: add it to spec.app.secrets\n", stored.Tenant)
	default:
		fmt.Fprintf(t.err, "the app gets it with its next release; if its last run failed: gitopsd retry %s\n", stored.Tenant)
	}
	return nil
}

// readSecret reads a value without showing it. The line end that an editor or
// echo puts after a value is not part of it.
func (t *terminal) readSecret(prompt string) ([]byte, error) {
	if fd := int(t.in.Fd()); term.IsTerminal(fd) {
		fmt.Fprint(t.err, prompt)
		value, err := term.ReadPassword(fd)
		fmt.Fprintln(t.err)
		if err != nil {
			return nil, fmt.Errorf("read value: %w", err)
		}
		return value, nil
	}
	value, err := io.ReadAll(io.LimitReader(t.in, maxSecret+3))
	if err != nil {
		return nil, fmt.Errorf("read value: %w", err)
	}
	value = bytes.TrimSuffix(bytes.TrimSuffix(value, []byte("\n")), []byte("\r"))
	switch {
	case len(value) == 0:
		return nil, fault.Errorf(fault.Invalid, "there is no value on standard input")
	case len(value) > maxSecret:
		return nil, fault.Errorf(fault.Invalid, "the value is larger than %d KiB", maxSecret>>10)
	}
	return value, nil
}
