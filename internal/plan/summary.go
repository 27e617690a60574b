package plan

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxSummary bounds a plan's summary, in characters: what forges show of a status.
const MaxSummary = 140

// Summary says in one line what the plan does, such as "1 provision, 2 deploy,
// 1 deprovision, 40 unchanged: deletes data of acme".
func (p Plan) Summary() string {
	text := p.counted()
	if p.Hold != "" {
		text = "Would be held: " + text
	}
	gone := p.Deletions()
	if len(gone) == 0 {
		return cutTo(text, MaxSummary)
	}
	text += ": deletes data of "
	for n := len(gone); n > 0; n-- { // as many names as fit
		if all := text + list(gone, n); utf8.RuneCountInString(all) <= MaxSummary {
			return all
		}
	}
	return cutTo(text+fmt.Sprintf("%d tenants", len(gone)), MaxSummary)
}

func (p Plan) counted() string {
	if len(p.Steps) == 0 {
		return "No tenant is touched"
	}
	count := map[Operation]int{}
	invalid, refused, unchanged := 0, 0, 0
	for _, s := range p.Steps {
		switch {
		case s.Failure != nil && s.Desired != nil && len(s.Desired.Problems) > 0:
			invalid++
		case s.Failure != nil:
			refused++
		case s.Operation == "":
			unchanged++
		default:
			count[s.Operation]++
		}
	}
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	for _, op := range []Operation{Provision, Update, Deploy, Deprovision, Purge, Restore} {
		add(count[op], string(op))
	}
	add(invalid, "invalid")
	add(refused, "refused")
	add(unchanged, "unchanged")
	return strings.Join(parts, ", ")
}
