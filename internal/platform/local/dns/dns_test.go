package dns_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/gitopsd/gitopsd/internal/platform/local/dns"
)

// serve runs a server on a directory and returns both.
func serve(t *testing.T) (dir, addr string) {
	t.Helper()
	dir = t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- dns.Serve(ctx, dns.Config{Dir: dir, Addr: addr, Logger: slog.New(slog.DiscardHandler)})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	eventually(t, "no answer", func() bool {
		_, _, err := new(mdns.Client).Exchange(new(mdns.Msg).SetQuestion(dns.Zone, mdns.TypeSOA), addr)
		return err == nil
	})
	return dir, addr
}

func eventually(t *testing.T, complaint string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(complaint)
		}
	}
}

func ask(t *testing.T, addr, network, name string, qtype uint16) *mdns.Msg {
	t.Helper()
	c := mdns.Client{Net: network, Timeout: 2 * time.Second}
	reply, _, err := c.Exchange(new(mdns.Msg).SetQuestion(name, qtype), addr)
	if err != nil {
		t.Fatalf("ask %s: %v", name, err)
	}
	return reply
}

func records(tenant string, ports ...int) dns.Records {
	r := dns.Records{Tenant: tenant}
	for n, p := range ports {
		r.Instances = append(r.Instances, dns.Instance{Name: fmt.Sprintf("%s-%d", tenant, n), Addr: "127.0.0.1", Port: p})
	}
	return r
}

func write(t *testing.T, dir, addr string, r dns.Records) {
	t.Helper()
	if changed, err := dns.Write(dir, r); err != nil || !changed {
		t.Fatalf("write: %v, %v", changed, err)
	}
	eventually(t, "the records are not answered", func() bool {
		return len(ask(t, addr, "tcp", dns.Name(r.Tenant)+".", mdns.TypeSRV).Answer) == len(r.Instances)
	})
}

func TestAnswers(t *testing.T) {
	dir, addr := serve(t)
	write(t, dir, addr, records("acme", 20001, 20002))
	for _, c := range []struct {
		name   string
		qtype  uint16
		rcode  int
		answer []string // substrings, one a record
		extra  int
	}{
		{
			"acme.tenants.gitopsd.internal.", mdns.TypeSRV, mdns.RcodeSuccess,
			[]string{"5\tIN\tSRV\t0 10 20001 acme-0.acme.tenants.", "20002 acme-1.acme.tenants."},
			2,
		},
		{"_http._tcp.acme.tenants.gitopsd.internal.", mdns.TypeSRV, mdns.RcodeSuccess, []string{"20001", "20002"}, 2},
		{"ACME.Tenants.gitopsd.INTERNAL.", mdns.TypeSRV, mdns.RcodeSuccess, []string{"20001", "20002"}, 2},
		{"acme-1.acme.tenants.gitopsd.internal.", mdns.TypeA, mdns.RcodeSuccess, []string{"127.0.0.1"}, 0},
		{"acme-1.acme.tenants.gitopsd.internal.", mdns.TypeAAAA, mdns.RcodeSuccess, nil, 0},
		{"acme.tenants.gitopsd.internal.", mdns.TypeA, mdns.RcodeSuccess, nil, 0},
		{"acme-2.acme.tenants.gitopsd.internal.", mdns.TypeA, mdns.RcodeNameError, nil, 0},
		{"other.tenants.gitopsd.internal.", mdns.TypeSRV, mdns.RcodeNameError, nil, 0},
		{"acme-0.other.tenants.gitopsd.internal.", mdns.TypeA, mdns.RcodeNameError, nil, 0},
		{"tenants.gitopsd.internal.", mdns.TypeSRV, mdns.RcodeSuccess, nil, 0},
		{"_tcp.acme.tenants.gitopsd.internal.", mdns.TypeSRV, mdns.RcodeSuccess, nil, 0},
		{"nothing.gitopsd.internal.", mdns.TypeA, mdns.RcodeNameError, nil, 0},
		{"gitopsd.internal.", mdns.TypeNS, mdns.RcodeSuccess, []string{"ns.gitopsd.internal."}, 0},
		{"ns.gitopsd.internal.", mdns.TypeA, mdns.RcodeSuccess, []string{"127.0.0.1"}, 0},
		{"example.com.", mdns.TypeA, mdns.RcodeRefused, nil, 0},
		{"notgitopsd.internal.", mdns.TypeA, mdns.RcodeRefused, nil, 0},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(fmt.Sprintf("%s/%s/%s", c.name, mdns.TypeToString[c.qtype], network), func(t *testing.T) {
				reply := ask(t, addr, network, c.name, c.qtype)
				if reply.Rcode != c.rcode || len(reply.Answer) != len(c.answer) || len(reply.Extra) != c.extra {
					t.Fatalf("got\n%v", reply)
				}
				for i, want := range c.answer {
					if !strings.Contains(reply.Answer[i].String(), want) {
						t.Errorf("answer %d: %s, want %s", i, reply.Answer[i], want)
					}
				}
				if negative := len(c.answer) == 0 && c.rcode != mdns.RcodeRefused; negative != (len(reply.Ns) == 1) {
					t.Errorf("authority: %v", reply.Ns)
				}
				if reply.Authoritative != (c.rcode != mdns.RcodeRefused) {
					t.Errorf("authoritative: %v", reply.Authoritative)
				}
			})
		}
	}
}

func TestFollowsTheFiles(t *testing.T) {
	dir, addr := serve(t)
	begin := time.Now()
	write(t, dir, addr, records("acme", 20001))
	t.Logf("answered %s after the write began", time.Since(begin).Round(100*time.Microsecond))
	write(t, dir, addr, records("acme", 20001, 20002))
	if changed, err := dns.Write(dir, records("acme", 20001, 20002)); err != nil || changed {
		t.Errorf("the same again: %v, %v", changed, err)
	}
	for range 2 {
		if err := dns.Remove(dir, "acme"); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "still there", func() bool {
		return ask(t, addr, "udp", dns.Name("acme")+".", mdns.TypeSRV).Rcode == mdns.RcodeNameError
	})
}

func TestKeepsTheLastGoodRecords(t *testing.T) {
	dir, addr := serve(t)
	write(t, dir, addr, records("acme", 20001))
	for _, bad := range []string{
		"", "{", `{"tenant":"other","instances":[]}`,
		`{"tenant":"acme","instances":[{"name":"a b","addr":"127.0.0.1","port":1}]}`,
		`{"tenant":"acme","instances":[{"name":"a","addr":"::1","port":1}]}`,
		`{"tenant":"acme","instances":[{"name":"a","addr":"127.0.0.1","port":70000}]}`,
	} {
		temporary := filepath.Join(dir, ".acme.json.tmp")
		if err := os.WriteFile(temporary, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temporary, filepath.Join(dir, "acme.json")); err != nil {
			t.Fatal(err)
		}
		write(t, dir, addr, records("probe"+fmt.Sprint(len(bad)), 1)) // when this is seen, so is the other
		if reply := ask(t, addr, "udp", dns.Name("acme")+".", mdns.TypeSRV); len(reply.Answer) != 1 {
			t.Errorf("after %q: %v", bad, reply)
		}
	}
}

func TestTruncatesOverUDP(t *testing.T) {
	dir, addr := serve(t)
	ports := make([]int, 60)
	for i := range ports {
		ports[i] = 20000 + i
	}
	write(t, dir, addr, records("wide", ports...))
	name := dns.Name("wide") + "."
	reply := ask(t, addr, "udp", name, mdns.TypeSRV)
	reply.Compress = true // as it was sent
	if !reply.Truncated || reply.Len() > mdns.MinMsgSize {
		t.Errorf("over UDP: truncated %v, %d bytes", reply.Truncated, reply.Len())
	}
	if reply := ask(t, addr, "tcp", name, mdns.TypeSRV); reply.Truncated || len(reply.Answer) != 60 {
		t.Errorf("over TCP: truncated %v, %d answers", reply.Truncated, len(reply.Answer))
	}
}

func TestRefusesBadRecords(t *testing.T) {
	for _, r := range []dns.Records{
		{Tenant: "../x"}, {Tenant: ""}, records("acme", 0), {Tenant: "A"},
	} {
		if _, err := dns.Write(t.TempDir(), r); err == nil {
			t.Errorf("%+v was written", r)
		}
	}
}
