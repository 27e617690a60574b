package tenant_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

// fill repeats a text to the size of the largest file.
func fill(text string) string { return strings.Repeat(text, tenant.MaxFile/len(text)) }

func TestHostileFilesCostLittle(t *testing.T) {
	t.Parallel()
	numbered := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len()+40 < tenant.MaxFile; i++ {
			fmt.Fprintf(&b, format, i, i)
		}
		return b.String()
	}
	const head = "apiVersion: gitopsd.dev/v1\nkind: Tenant\nmetadata: {name: x}\n"
	for name, text := range map[string]string{
		"open lists":         fill("["),
		"open mappings":      fill("{a: "),
		"nested sequences":   fill("- "),
		"complex keys":       fill("? "),
		"one long word":      fill("a"),
		"comments":           fill("#\n"),
		"comments with keys": numbered("# %d\nk%d: 1\n\n"),
		"tags":               fill("! "),
		"anchors":            numbered("k%d: &a%d x\n"),
		"unknown keys":       numbered("k%d: %d\n"),
		"the same key":       fill("a: 1\n"),
		"late duplicates":    numbered("k%08d: %08d\n")[:20*6_000] + "\n" + strings.Repeat("k1: 1\n", 15_000),
		"aliases":            "a: &a [x, x, x, x, x, x, x, x]\nb: [" + strings.Repeat("*a, ", 60_000) + "x]\n",
		"aliases of text":    "a: &a x\nb: [" + strings.Repeat("*a, ", 60_000) + "x]\n",
		"unclosed quote":     `a: "` + fill("x\n")[9:],
		"documents":          fill("---\n"),
		"directives":         fill("%YAML 1.2\n"),
		"domains":            head + "spec:\n  app: {path: a}\n  domains: [" + strings.Repeat("a.b,", 60_000) + "]\n",
		"env":                head + "spec:\n  app:\n    path: a\n    env:\n" + numbered("      k%d: %d\n")[:200_000],
		"models":             head + "spec: {app: {design: {models: [" + strings.Repeat("{name: a,fields: [{name: b,type: ref,ref: c}]},", 5_000) + "]}}}\n",
		"long model names":   head + "spec: {app: {design: {models: [" + strings.ReplaceAll(strings.Repeat("{name: @,fields: [{name: b,type: ref,ref: "+strings.Repeat("c", 60)+"}]},", 1_500), "@", strings.Repeat("d", 40)) + "]}}}\n",
		"carriage returns":   fill("\r"),
		"tabs":               fill("\t"),
		"colons":             fill("a: "),
		"literal block":      "a: |\n" + fill("  x\n")[8:],
		"too large":          fill("a") + "aaaaaaaa",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			got, problems := tenant.Parse("tenants/x.yaml", []byte(text))
			if got != nil || len(problems) == 0 {
				t.Fatal("Parse accepted it")
			}
			if len(problems) > 101 {
				t.Errorf("%d problems reported", len(problems))
			}
			for _, p := range problems {
				if len(p.String()) > 1000 {
					t.Errorf("a message of %d bytes: %.200s…", len(p.String()), p)
				}
			}
			took := time.Since(start)
			t.Logf("%v for %d KiB: %v", took, len(text)>>10, problems[0])
			if took > 10*time.Second { // a quadratic algorithm takes minutes
				t.Errorf("took %v", took)
			}
		})
	}
}
