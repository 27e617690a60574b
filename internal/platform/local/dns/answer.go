package dns

import (
	"net"
	"strings"

	"github.com/miekg/dns"
)

// Times to live, in seconds.
const (
	recordTTL   = 5
	negativeTTL = 1 // a tenant that was just made is not to be missed for long
)

// answer answers one query.
func (t *table) answer(w dns.ResponseWriter, query *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(query)
	reply.Authoritative = true
	size := dns.MinMsgSize
	if opt := query.IsEdns0(); opt != nil {
		size = int(max(opt.UDPSize(), dns.MinMsgSize))
		reply.SetEdns0(1232, false)
	}
	switch {
	case query.Opcode != dns.OpcodeQuery:
		reply.Rcode = dns.RcodeNotImplemented
	case len(query.Question) != 1:
		reply.Rcode = dns.RcodeFormatError
	case query.Question[0].Qclass != dns.ClassINET || !dns.IsSubDomain(Zone, strings.ToLower(query.Question[0].Name)):
		reply.Authoritative, reply.Rcode = false, dns.RcodeRefused
	default:
		t.fill(reply, query.Question[0])
	}
	if _, tcp := w.RemoteAddr().(*net.TCPAddr); tcp {
		size = dns.MaxMsgSize
	}
	reply.Truncate(size)
	if err := w.WriteMsg(reply); err != nil {
		t.log.Debug("answer not sent", "error", err)
	}
}

// fill answers a question about the zone.
func (t *table) fill(reply *dns.Msg, q dns.Question) {
	name := strings.ToLower(q.Name)
	answer, extra, exists := t.find(name, q)
	reply.Answer, reply.Extra = answer, append(extra, reply.Extra...)
	if !exists {
		reply.Rcode = dns.RcodeNameError
	}
	if len(answer) == 0 {
		reply.Ns = []dns.RR{soa(negativeTTL)}
	}
}

// find returns the records of a name, and whether the name is there at all.
func (t *table) find(name string, q dns.Question) (answer, extra []dns.RR, exists bool) {
	switch name {
	case Zone:
		return apex(q.Qtype), nil, true
	case "tenants." + Zone: // an empty name above others
		return nil, nil, true
	case "ns." + Zone:
		return address(q, net.IPv4(127, 0, 0, 1)), nil, true
	}
	rest, below := strings.CutSuffix(name, ".tenants."+Zone)
	if !below {
		return nil, nil, false
	}
	labels := strings.Split(rest, ".")
	r, known := t.tenant(labels[len(labels)-1])
	if !known {
		return nil, nil, false
	}
	switch prefix := strings.Join(labels[:len(labels)-1], "."); prefix {
	case "", "_http._tcp":
		answer, extra = services(r, q)
		return answer, extra, true
	case "_tcp":
		return nil, nil, true
	default:
		for _, i := range r.Instances {
			if i.Name == prefix {
				return address(q, net.ParseIP(i.Addr)), nil, true
			}
		}
		return nil, nil, false
	}
}

// services returns a tenant's SRV records and their targets' addresses.
func services(r Records, q dns.Question) (answer, extra []dns.RR) {
	if q.Qtype != dns.TypeSRV && q.Qtype != dns.TypeANY {
		return nil, nil
	}
	for _, i := range r.Instances {
		target := i.Name + "." + Name(r.Tenant) + "."
		answer = append(answer, &dns.SRV{
			Hdr:    header(q.Name, dns.TypeSRV, recordTTL),
			Weight: 10, Port: uint16(i.Port), Target: target,
		})
		extra = append(extra, &dns.A{Hdr: header(target, dns.TypeA, recordTTL), A: net.ParseIP(i.Addr)})
	}
	return answer, extra
}

func address(q dns.Question, ip net.IP) []dns.RR {
	if q.Qtype != dns.TypeA && q.Qtype != dns.TypeANY {
		return nil
	}
	return []dns.RR{&dns.A{Hdr: header(q.Name, dns.TypeA, recordTTL), A: ip}}
}

func apex(qtype uint16) []dns.RR {
	switch qtype {
	case dns.TypeSOA, dns.TypeANY:
		return []dns.RR{soa(recordTTL)}
	case dns.TypeNS:
		return []dns.RR{&dns.NS{Hdr: header(Zone, dns.TypeNS, recordTTL), Ns: "ns." + Zone}}
	}
	return nil
}

func soa(ttl uint32) dns.RR {
	return &dns.SOA{
		Hdr: header(Zone, dns.TypeSOA, ttl), Ns: "ns." + Zone, Mbox: "hostmaster." + Zone,
		Serial: 1, Refresh: 60, Retry: 60, Expire: 3600, Minttl: negativeTTL,
	}
}

func header(name string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}
