package iamtest

import "testing"

// needs returns what a role must be allowed: where each action is done, by action,
// and who does it.
func (w world) needs(t *testing.T, name string, code []call) map[string][]use {
	t.Helper()
	out := map[string][]use{}
	p, places := w.parts()[name], w.places()
	for _, a := range actions(code) {
		if p.never[a] != "" {
			continue
		}
		place, ok := p.on[a]
		if !ok {
			place, ok = places[a]
		}
		if !ok {
			t.Errorf("%s: our code does %s: say in places where", name, a)
		}
		out[a] = append(out[a], use{at: place, why: "our code"})
	}
	for _, u := range p.other {
		for _, a := range fields(u.service, u.names) {
			out[a] = append(out[a], u)
		}
	}
	return out
}
