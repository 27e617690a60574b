package awstest

import (
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
	"github.com/miekg/dns"
)

// maxAnswered is how many records an answer carries. Source: "DnsConfig":
// Route 53 returns the values for up to eight instances.
const maxAnswered = 8

// ServeDNS answers, on a free port of this machine, for Cloud Map's namespaces:
// SRV for a service's name, and the addresses of its instances. It ends with the test.
func (m *CloudMap) ServeDNS(tb testing.TB) (addr string) {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	packets, err := net.ListenPacket("udp", listener.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	handler := dns.HandlerFunc(m.answer)
	for _, s := range []*dns.Server{{Listener: listener, Handler: handler}, {PacketConn: packets, Handler: handler, UDPSize: 1232}} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = s.ActivateAndServe() // until it is shut down
		}()
		tb.Cleanup(func() {
			_ = s.Shutdown()
			<-done
		})
	}
	return listener.Addr().String()
}

func (m *CloudMap) answer(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(query)
	if len(query.Question) != 1 {
		reply.Rcode = dns.RcodeFormatError
	} else if q := query.Question[0]; !m.fill(reply, q) {
		reply.Rcode = dns.RcodeNameError
		reply.Ns = []dns.RR{m.authority(q.Name)}
	} else if len(reply.Answer) == 0 {
		reply.Ns = []dns.RR{m.authority(q.Name)}
	}
	size := dns.MinMsgSize
	if opt := query.IsEdns0(); opt != nil {
		size = int(max(opt.UDPSize(), dns.MinMsgSize))
		reply.SetEdns0(1232, false)
	}
	if _, tcp := w.RemoteAddr().(*net.TCPAddr); tcp {
		size = dns.MaxMsgSize
	}
	reply.Truncate(size)
	_ = w.WriteMsg(reply) // or the resolver asks again
}

// authority is what says how long a name is taken not to be there.
func (m *CloudMap) authority(name string) dns.RR {
	negative := uint32(m.Negative.Seconds())
	labels := dns.SplitDomainName(name)
	zone := dns.Fqdn(strings.Join(labels[min(1, len(labels)):], "."))
	return &dns.SOA{
		Hdr: dns.RR_Header{Name: zone, Rrtype: dns.TypeSOA, Class: dns.ClassINET, Ttl: negative},
		Ns:  "ns." + zone, Mbox: "awsdns-hostmaster.amazon.com.", Serial: 1, Refresh: 7200, Retry: 900, Expire: 1209600, Minttl: negative,
	}
}

// fill puts in what is known of a name; it reports whether there is such a name.
func (m *CloudMap) fill(reply *dns.Msg, q dns.Question) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := strings.ToLower(strings.TrimSuffix(q.Name, "."))
	for id, n := range m.namespaces {
		below, ok := strings.CutSuffix(name, "."+*n.Name)
		if !ok {
			continue
		}
		labels := strings.Split(below, ".")
		s := m.named(id, labels[len(labels)-1])
		if s == nil {
			return false
		}
		healthy := s.answered(func(h types.HealthStatus) bool { return h != types.HealthStatusUnhealthy })
		if len(labels) == 2 {
			return address(reply, q, labels[0], healthy)
		}
		return len(labels) == 1 && s.records(reply, q, healthy)
	}
	return false
}

func (s *mapService) records(reply *dns.Msg, q dns.Question, healthy []*mapInstance) bool {
	if s.DnsConfig == nil || len(healthy) == 0 {
		return false // Cloud Map has no records without instances
	}
	rand.Shuffle(len(healthy), func(i, j int) { healthy[i], healthy[j] = healthy[j], healthy[i] })
	for _, record := range s.DnsConfig.DnsRecords {
		if record.Type != types.RecordTypeSrv || q.Qtype != dns.TypeSRV {
			continue
		}
		for _, i := range healthy[:min(len(healthy), maxAnswered)] {
			port, _ := strconv.ParseUint(i.Attributes["AWS_INSTANCE_PORT"], 10, 16)
			target := *i.Id + "." + dns.Fqdn(q.Name)
			ttl := uint32(*record.TTL) //nolint:gosec // seconds
			reply.Answer = append(reply.Answer, &dns.SRV{
				Hdr:      dns.RR_Header{Name: q.Name, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: ttl},
				Priority: 1, Weight: 1, Port: uint16(port), Target: target,
			})
			reply.Extra = append(reply.Extra, &dns.A{
				Hdr: dns.RR_Header{Name: target, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: ttl}, A: net.ParseIP(i.Attributes["AWS_INSTANCE_IPV4"]),
			})
		}
	}
	return true
}

func address(reply *dns.Msg, q dns.Question, id string, healthy []*mapInstance) bool {
	for _, i := range healthy {
		if !strings.EqualFold(*i.Id, id) {
			continue
		}
		if q.Qtype == dns.TypeA {
			reply.Answer = append(reply.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 5}, A: net.ParseIP(i.Attributes["AWS_INSTANCE_IPV4"]),
			})
		}
		return true
	}
	return false
}
