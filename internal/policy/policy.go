package policy

import (
	"context"
	"fmt"
	"strings"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// Policy is what one gitopsd.yaml says. It is safe for concurrent use.
type Policy struct {
	settings sync.Settings
	keys     keyring
	limits   []limit
	rules    []rule
}

var _ sync.Policy = (*Policy)(nil)

// Settings returns what the loop goes by.
func (p *Policy) Settings() sync.Settings { return p.settings }

// Judge returns why a step may not be carried out, a sentence each; nothing if
// it may. A tenant that has a file is held to the limits and to the rules on
// changes; one whose file is gone to the rules on deletions alone. A file that
// has problems says nothing that could be judged.
func (p *Policy) Judge(ctx context.Context, s plan.Step) []string {
	var refusals []string
	if s.Desired != nil {
		if s.Desired.Tenant == nil {
			return nil
		}
		for _, l := range p.limits {
			if wrong := l.check(s.Desired.Tenant); wrong != "" {
				refusals = append(refusals, fmt.Sprintf("%s (%s)", wrong, l.place))
			}
		}
	}
	return append(refusals, evaluate(ctx, p.rules, s)...)
}

// listed writes the first of some names in a row.
func listed(names []string) string {
	const most = 5
	if rest := len(names) - most; rest > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), rest)
	}
	if last := len(names) - 1; last > 0 {
		return strings.Join(names[:last], ", ") + " and " + names[last]
	}
	return strings.Join(names, "")
}
