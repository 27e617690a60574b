package edge

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"
)

// instance is one target of a tenant's SRV record.
type instance struct {
	addr     string // ip:port
	priority uint16 // lower goes first
	weight   uint16
	// downUntil is set (Unix nanoseconds) when a request could not be given to
	// the instance: others are asked first until then.
	downUntil atomic.Int64
	inFlight  atomic.Int64
}

// downFor is how long an instance that failed a request is asked last.
const downFor = time.Second

// instances are what a tenant's SRV record last said, ready to choose from.
type instances struct {
	all    []*instance
	groups [][]*instance // by priority; within one, each as often as it weighs
	next   atomic.Uint32
}

// maxTurns bounds the length of a group's round, in turns.
const maxTurns = 128

func newInstances(all []*instance) *instances {
	slices.SortFunc(all, func(a, b *instance) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.addr, b.addr))
	})
	all = slices.CompactFunc(all, func(a, b *instance) bool { return a.priority == b.priority && a.addr == b.addr })
	s := &instances{all: all}
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].priority == all[0].priority {
			n++
		}
		s.groups = append(s.groups, round(all[:n]))
		all = all[n:]
	}
	return s
}

// same reports whether two sets hold the same targets.
func (s *instances) same(o *instances) bool {
	return slices.EqualFunc(s.all, o.all, func(a, b *instance) bool {
		return a.addr == b.addr && a.priority == b.priority && a.weight == b.weight
	})
}

// keep returns the set with the instances of another in place of the same of
// its own: what is known of them stays known.
func (s *instances) keep(was *instances) *instances {
	if was == nil {
		return s
	}
	all := slices.Clone(s.all)
	for i, in := range all {
		for _, old := range was.all {
			if old.addr == in.addr && old.priority == in.priority && old.weight == in.weight {
				all[i] = old
			}
		}
	}
	return newInstances(all)
}

// other reports whether there is an instance but that one.
func (s *instances) other(in *instance) bool {
	return slices.ContainsFunc(s.all, func(o *instance) bool { return o.addr != in.addr })
}

// round spreads each instance over a round as often as it weighs beside the
// others. Weight 0 counts as the smallest share (RFC 2782: "a very small
// chance").
func round(group []*instance) []*instance {
	total, divisor := 0, 0
	for _, in := range group {
		w := max(int(in.weight), 1)
		total += w
		divisor = gcd(divisor, w)
	}
	if total/divisor > maxTurns {
		divisor = total / maxTurns
	}
	share, credit, turns := make([]int, len(group)), make([]int, len(group)), 0
	for i, in := range group {
		share[i] = max(int(in.weight)/divisor, 1)
		turns += share[i]
	}
	out := make([]*instance, 0, turns)
	for range turns { // the one with the most credit goes next, and pays a whole round
		best := 0
		for i := range group {
			credit[i] += share[i]
			if credit[i] > credit[best] {
				best = i
			}
		}
		credit[best] -= turns
		out = append(out, group[best])
	}
	return out
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// pick returns the instance a request goes to: of the two whose turn it is, the
// one with less to do. It is none of those the request failed at, and none that
// failed a moment ago, unless there is no other; nil if there are none at all.
func (s *instances) pick(tried []*instance, now func() time.Time) *instance {
	if len(s.all) == 1 {
		return s.all[0]
	}
	var resort *instance
	turn := s.next.Add(1)
	nanos := int64(0)
	for _, group := range s.groups {
		var first *instance
		for i := range group {
			in := group[(int(turn%uint32(len(group)))+i)%len(group)]
			if in == first || slices.Contains(tried, in) {
				continue
			}
			if until := in.downUntil.Load(); until != 0 {
				if nanos == 0 {
					nanos = now().UnixNano()
				}
				if until > nanos {
					if resort == nil {
						resort = in
					}
					continue
				}
			}
			if first == nil {
				first = in
				continue
			}
			if in.inFlight.Load() < first.inFlight.Load() {
				return in
			}
			return first
		}
		if first != nil {
			return first
		}
	}
	if resort == nil && len(s.all) > 0 {
		resort = s.all[int(turn%uint32(len(s.all)))]
	}
	return resort
}
