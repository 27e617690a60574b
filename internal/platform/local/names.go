package local

import (
	"context"
	"fmt"
	"slices"
	"time"

	dnsclient "github.com/miekg/dns"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/local/dns"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
)

func (d *Driver) startDNS(ctx context.Context) error {
	status, err := d.runner.Ensure(ctx, process.Service{
		Name: "dns", Ports: []string{"dns"}, Grace: 5 * time.Second,
		Prepare: func(ports process.Ports) (process.Command, error) {
			return process.Command{
				Path: d.self, Args: []string{"dns", "--dir", d.path("dns"), "--addr", ports.Addr("dns")},
				Dir: d.path("dns"), Env: []string{systemPath, "HOME=" + d.path("dns")},
			}, nil
		},
		Restarted: func(process.Ports) { d.dnsRestarted() },
	})
	if err != nil {
		return err
	}
	return d.awaitPort(ctx, "dns", status.Ports.Addr("dns"))
}

func (d *Driver) dnsAddr() string { return d.runner.Status("dns").Ports.Addr("dns") }

// dnsRestarted starts the edge anew if DNS is on another port than it knows:
// somebody took the former one while nothing listened there.
func (d *Driver) dnsRestarted() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.startEdge(ctx); err != nil {
		d.c.Logger.Error("the edge may not know the new address of DNS", "error", err)
	}
}

// lookUp asks the DNS server for a tenant's instances: "<name>:<port>", sorted.
// A tenant that has no name is no error.
func (d *Driver) lookUp(ctx context.Context, tenant string) (names []string, exists bool, err error) {
	query := new(dnsclient.Msg).SetQuestion(dns.Name(tenant)+".", dnsclient.TypeSRV)
	client := dnsclient.Client{Net: "tcp", Timeout: 2 * time.Second} // TCP: never cut short
	reply, _, err := client.ExchangeContext(ctx, query, d.dnsAddr())
	if err != nil {
		return nil, false, fault.Errorf(fault.Transient, "ask DNS for %s: %w", tenant, err)
	}
	switch reply.Rcode {
	case dnsclient.RcodeNameError:
		return nil, false, nil
	case dnsclient.RcodeSuccess:
	default:
		return nil, false, fault.Errorf(fault.Transient, "ask DNS for %s: %s", tenant, dnsclient.RcodeToString[reply.Rcode])
	}
	for _, rr := range reply.Answer {
		if srv, ok := rr.(*dnsclient.SRV); ok {
			names = append(names, fmt.Sprintf("%s:%d", srv.Target, srv.Port))
		}
	}
	slices.Sort(names)
	return names, true, nil
}

// awaitNames waits until DNS answers with exactly these instances; nil: until it
// does not know the tenant.
func (d *Driver) awaitNames(ctx context.Context, tenant string, instances []dns.Instance) error {
	var want []string
	for _, i := range instances {
		want = append(want, fmt.Sprintf("%s.%s.:%d", i.Name, dns.Name(tenant), i.Port))
	}
	slices.Sort(want)
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for wait := 2 * time.Millisecond; ; wait = min(wait*3/2, 50*time.Millisecond) {
		names, exists, err := d.lookUp(ctx, tenant)
		if err == nil && exists == (instances != nil) && slices.Equal(names, want) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.Errorf(fault.Transient, "DNS does not follow the records of %s: it answers %v (%v), want %v",
				tenant, names, err, want)
		case <-time.After(wait):
		}
	}
}

// writeNames has exactly these instances in DNS, and reports whether that was a change.
func (d *Driver) writeNames(ctx context.Context, tenant string, instances []dns.Instance) (bool, error) {
	changed, err := dns.Write(d.path("dns"), dns.Records{Tenant: tenant, Instances: instances})
	if err != nil {
		return changed, err
	}
	return changed, d.awaitNames(ctx, tenant, instances)
}
