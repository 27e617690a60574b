package iamtest

import (
	"maps"
	"slices"
	"testing"
)

// TestRoles: each role allows the calls that
// are made with it, where they are made, and no other.
func TestRoles(t *testing.T) {
	t.Parallel()
	w, p := newWorld(ourCell), ours(t)
	roles := statements(t)
	if got, want := slices.Sorted(maps.Keys(roles)), slices.Sorted(maps.Keys(w.parts())); !slices.Equal(got, want) {
		t.Fatalf("roles %q, want %q", got, want)
	}
	made := 0
	for name, part := range w.parts() {
		followed := p.calls(t, name, part.root)
		code := followed.list()
		made += len(code)
		needs, has := w.needs(t, name, code), granted(roles[name])
		for _, a := range slices.Sorted(maps.Keys(needs)) {
			if !has[a] {
				t.Errorf("%s: %s is done and not allowed: %s%s", name, a, needs[a][0].why, followed.why(a))
			}
		}
		for _, s := range roles[name] {
			for _, a := range s.Actions {
				if needs[a] == nil {
					t.Errorf("%s: %s is allowed and never done", name, a)
					continue
				}
				for _, r := range s.Resources {
					if r == "*" && !slices.ContainsFunc(needs[a], func(u use) bool { return u.wide != "" || slices.Contains(u.on, r) }) {
						t.Errorf("%s: %s is allowed on everything: name its resources", name, a)
					}
					if !slices.ContainsFunc(needs[a], func(u use) bool { return matchesAny(r, u.on) }) && !vain(s.Actions, needs, r) {
						t.Errorf("%s: %s is allowed on %s and never done there", name, a, r)
					}
				}
			}
		}
		t.Logf("%s: %d calls of ours, %d actions", name, len(code), len(needs))
	}
	if made == 0 {
		t.Error("no call of ours was found")
	}
}

// vain reports whether a resource of a statement is there for another of its
// actions: AWS takes each action where it can be, and passes over the rest.
func vain(actions []string, needs map[string][]use, resource string) bool {
	return slices.ContainsFunc(actions, func(a string) bool {
		return slices.ContainsFunc(needs[a], func(u use) bool { return matchesAny(resource, u.on) })
	})
}
