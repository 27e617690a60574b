package edge

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/miekg/dns"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Bounds of how long an answer is taken for true. A change announces itself
// through the route's serial; these are for the case that it does not.
const (
	minTTL      = 2 * time.Second
	maxTTL      = time.Minute
	negativeTTL = 5 * time.Second // no such record, and no SOA that says more
)

// exchangeTimeout bounds one question.
const exchangeTimeout = time.Second

// nameServers returns the host:port of the servers that a configuration means.
func nameServers(configured string) ([]string, error) {
	if configured != SystemDNS {
		return []string{configured}, nil
	}
	system, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "name servers of the system: %w", err)
	}
	var servers []string
	for _, s := range system.Servers {
		servers = append(servers, net.JoinHostPort(s, system.Port))
	}
	if len(servers) == 0 {
		return nil, fault.Errorf(fault.Invalid, "name servers of the system: /etc/resolv.conf has none")
	}
	return servers, nil
}

// asker asks one DNS server over a connection of its own, which it keeps; the
// next one after a failure. Not safe for concurrent use.
type asker struct {
	servers []string
	turn    int
	conn    *dns.Conn
}

func (a *asker) server() string { return a.servers[a.turn%len(a.servers)] }

func (a *asker) close() {
	if a.conn != nil {
		_ = a.conn.Close()
		a.conn = nil
	}
}

// fail has the next question go to another server, if there is one.
func (a *asker) fail() {
	a.close()
	a.turn++
}

// ask returns the server's answer. A connection that failed once is not used
// again: a late answer on it would be taken for the next question's.
func (a *asker) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), qtype)
	q.SetEdns0(4096, false)
	client := &dns.Client{Net: "udp", Timeout: exchangeTimeout, UDPSize: 4096}
	res, err := a.exchange(ctx, client, q)
	if err == nil && res.Truncated {
		client.Net = "tcp"
		res, _, err = client.ExchangeContext(ctx, q, a.server())
	}
	if err == nil && res.Rcode != dns.RcodeSuccess && res.Rcode != dns.RcodeNameError {
		err = errors.New(dns.RcodeToString[res.Rcode])
	}
	if err != nil {
		err = fmt.Errorf("ask %s for %s: %w", a.server(), name, err)
		a.fail()
		return nil, err
	}
	return res, nil
}

func (a *asker) exchange(ctx context.Context, client *dns.Client, q *dns.Msg) (*dns.Msg, error) {
	if a.conn == nil {
		conn, err := client.DialContext(ctx, a.server())
		if err != nil {
			return nil, err
		}
		a.conn = conn
	}
	res, _, err := client.ExchangeWithConnContext(ctx, q, a.conn)
	return res, err
}

// instances asks for a tenant's SRV record and its targets' addresses. No such
// record is an answer: no instances. ttl is how long to believe it.
func (a *asker) instances(ctx context.Context, srv string) (*instances, time.Duration, error) {
	res, err := a.ask(ctx, srv, dns.TypeSRV)
	if err != nil {
		return nil, 0, err
	}
	var all []*instance
	ttl := maxTTL
	for _, rr := range res.Answer {
		s, ok := rr.(*dns.SRV)
		if !ok || s.Target == "." {
			continue
		}
		ttl = min(ttl, seconds(s.Hdr.Ttl))
		ips, addrTTL, err := a.addresses(ctx, s.Target, res.Extra)
		if err != nil {
			return nil, 0, err
		}
		ttl = min(ttl, addrTTL)
		for _, ip := range ips {
			addr := net.JoinHostPort(ip.String(), strconv.Itoa(int(s.Port)))
			all = append(all, &instance{addr: addr, priority: s.Priority, weight: s.Weight})
		}
	}
	if len(all) == 0 {
		ttl = min(ttl, absentFor(res))
	}
	return newInstances(all), max(ttl, minTTL), nil
}

// addresses returns a target's addresses: from the additional section, else
// asked for.
func (a *asker) addresses(ctx context.Context, target string, extra []dns.RR) ([]netip.Addr, time.Duration, error) {
	if ips, ttl := addressesIn(extra, target); len(ips) > 0 {
		return ips, ttl, nil
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		res, err := a.ask(ctx, target, qtype)
		if err != nil {
			return nil, 0, err
		}
		if ips, ttl := addressesIn(res.Answer, target); len(ips) > 0 {
			return ips, ttl, nil
		}
	}
	return nil, negativeTTL, nil
}

// addressesIn returns the IPv4 addresses of a name, or, without any, the IPv6.
func addressesIn(rrs []dns.RR, name string) ([]netip.Addr, time.Duration) {
	var v4, v6 []netip.Addr
	ttl := maxTTL
	for _, rr := range rrs {
		if !dnsEqual(rr.Header().Name, name) {
			continue
		}
		switch rr := rr.(type) {
		case *dns.A:
			if ip, ok := netip.AddrFromSlice(rr.A.To4()); ok {
				v4, ttl = append(v4, ip), min(ttl, seconds(rr.Hdr.Ttl))
			}
		case *dns.AAAA:
			if ip, ok := netip.AddrFromSlice(rr.AAAA); ok {
				v6, ttl = append(v6, ip), min(ttl, seconds(rr.Hdr.Ttl))
			}
		}
	}
	if len(v4) > 0 {
		return v4, ttl
	}
	return v6, ttl
}

// absentFor returns how long an absence is to be believed (RFC 2308).
func absentFor(res *dns.Msg) time.Duration {
	for _, rr := range res.Ns {
		if soa, ok := rr.(*dns.SOA); ok {
			return min(seconds(soa.Minttl), seconds(soa.Hdr.Ttl))
		}
	}
	return negativeTTL
}

func dnsEqual(a, b string) bool { return dns.CanonicalName(a) == dns.CanonicalName(b) }

func seconds(ttl uint32) time.Duration { return time.Duration(ttl) * time.Second }
