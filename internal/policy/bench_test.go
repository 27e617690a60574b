package policy_test

import (
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// BenchmarkJudge asks every limit and 20 rules about an update.
func BenchmarkJudge(b *testing.B) {
	var text strings.Builder
	text.WriteString(full)
	for i := range 18 {
		fmt.Fprintf(&text, "    - {name: r%d, when: 'tenant.labels.tier != \"t%d\"', expect: 'tenant.domains.all(d, d.endsWith(\".example\")) && tenant.compute.memory <= 2048', message: m}\n", i, i)
	}
	p := load(b, text.String())
	step := added(acme(func(t *tenant.Tenant) { t.Labels["plan"], t.Deletion.Protect = "pro", true }))
	b.ReportAllocs()
	for b.Loop() {
		if refusals := p.Judge(b.Context(), step); refusals != nil {
			b.Fatal(refusals)
		}
	}
}

// BenchmarkAt finds the policy of a commit that did not change it.
func BenchmarkAt(b *testing.B) {
	h := &history{commits: map[string]fs.FS{"a": repository(full)}}
	ps := policy.New(h.FS, func(string, string) (string, error) { return "1", nil }, plan.DefaultBrake)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ps.At(b.Context(), "a"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad reads a policy with two rules.
func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		load(b, full)
	}
}
