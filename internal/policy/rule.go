package policy

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// ruleSpec is a rule as the file has it. CEL may be written as a YAML boolean.
type ruleSpec struct {
	Name    string
	On      []string
	When    any
	Expect  any
	Message string
}

// The kinds of steps that a rule can be asked about.
const (
	onChange   = "change"
	onDeletion = "deletion"
)

// rule is one that is ready to be asked.
type rule struct {
	name, message string
	place         string // in the policy
	on            []string
	when          cel.Program // nil for always
	expect        cel.Program
}

// Change is what a rule sees of a step beside the tenant.
type Change struct {
	Operation string   `json:"operation"` // provision, update, deploy, deprovision, or none
	Fields    []string `json:"fields"`    // that differ, dotted
	Restores  bool     `json:"restores"`  // brings a deleted tenant back with its data
}

func (l *loader) rules(specs []ruleSpec) []rule {
	if len(specs) == 0 {
		return nil
	}
	lang, err := theLanguage()
	if err != nil {
		l.yaml.Refuse([]string{"spec", "rules"}, "rules cannot be read: "+err.Error(), "")
		return nil
	}
	first := map[string]int{}
	all := make([]rule, 0, len(specs))
	for i, spec := range specs {
		path := []string{"spec", "rules", strconv.Itoa(i)}
		if before, twice := first[spec.Name]; twice {
			line, _ := l.yaml.Place("spec", "rules", strconv.Itoa(before), "name")
			l.yaml.Refuse(slices.Concat(path, []string{"name"}), fmt.Sprintf("a second rule is called %q", spec.Name),
				fmt.Sprintf("the first one is in line %d", line))
		} else {
			first[spec.Name] = i
		}
		r := rule{name: spec.Name, message: spec.Message, on: spec.On, place: l.place(slices.Concat(path, []string{"expect"})...)}
		if len(r.on) == 0 {
			r.on = []string{onChange}
		}
		if spec.When != nil {
			r.when = l.compile(lang, spec.When, r.on, slices.Concat(path, []string{"when"}))
		}
		r.expect = l.compile(lang, spec.Expect, r.on, slices.Concat(path, []string{"expect"}))
		all = append(all, r)
	}
	return all
}

// compile returns an expression ready to be asked, or notes what is wrong with it.
func (l *loader) compile(lang *language, text any, on, path []string) cel.Program {
	program, problems := lang.compile(fmt.Sprint(text), on)
	for _, p := range problems {
		l.yaml.RefuseInside(path, p.line, p.column, fmt.Sprintf("spec.rules[%s].%s: %s", path[2], path[3], p.message), p.hint)
	}
	return program
}

// Bounds of what judging one step may cost, in CEL's units: about the number of
// values touched, and of ten characters each.
const (
	maxRuleCost = 100_000 // of one expression
	maxStepCost = 300_000 // of all of them
)

// maxTime is a second bound of them all, far above what the cost allows: it is
// there for a machine that hardly runs.
const maxTime = 10 * time.Second

// evaluate asks the rules about a step and returns the refusals.
func evaluate(ctx context.Context, rules []rule, s plan.Step) []string {
	kind := onChange
	if s.Desired == nil {
		kind = onDeletion
	}
	var refusals []string
	var vars cel.Activation
	left := int64(maxStepCost)
	for _, r := range rules {
		if !slices.Contains(r.on, kind) {
			continue
		}
		if kind == onDeletion && (s.Applied == nil || s.Applied.Tenant == nil) {
			refusals = append(refusals, fmt.Sprintf("rule %s cannot be evaluated: nothing is known of the tenant (%s)", r.name, r.place))
			continue
		}
		if vars == nil {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, maxTime)
			defer cancel()
			var err error
			if vars, err = cel.NewActivation(variables(s)); err != nil {
				return append(refusals, fmt.Sprintf("rule %s cannot be evaluated: %v (%s)", r.name, err, r.place))
			}
		}
		switch met, err := r.ask(ctx, vars, &left); {
		case err != nil:
			refusals = append(refusals, fmt.Sprintf("rule %s cannot be evaluated: %s (%s)", r.name, sentence(err), r.place))
		case !met:
			refusals = append(refusals, fmt.Sprintf("rule %s: %s (%s)", r.name, r.message, r.place))
		}
	}
	return refusals
}

// ask reports whether the step meets the rule, or is none of its business.
func (r *rule) ask(ctx context.Context, vars cel.Activation, left *int64) (bool, error) {
	if r.when != nil {
		applies, err := ask(ctx, r.when, vars, left)
		if err != nil || !applies {
			return err == nil, err
		}
	}
	return ask(ctx, r.expect, vars, left)
}

// ask evaluates one expression and takes what it cost from what is left.
func ask(ctx context.Context, program cel.Program, vars cel.Activation, left *int64) (bool, error) {
	if *left <= 0 {
		return false, errTooCostly
	}
	value, details, err := program.ContextEval(ctx, vars)
	if details != nil && details.ActualCost() != nil {
		*left -= int64(min(*details.ActualCost(), maxStepCost))
	}
	if err != nil {
		return false, err
	}
	answer, ok := value.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the answer is no bool but %s", value.Type().TypeName())
	}
	return bool(answer), nil
}

// variables are what a rule sees of a step.
func variables(s plan.Step) map[string]any {
	change := Change{Operation: string(s.Operation), Fields: s.Changes, Restores: s.Restores}
	switch {
	case s.Desired == nil:
		change.Operation = string(plan.Deprovision) // also where it is held back
	case change.Operation == "":
		change.Operation = "none"
	}
	vars := map[string]any{"tenant": types.NullValue, "applied": types.NullValue, "change": change}
	if s.Desired != nil {
		vars["tenant"] = seen(s.Desired.Tenant)
	}
	if s.Applied != nil {
		vars["applied"] = seen(s.Applied.Tenant)
	}
	return vars
}

func seen(t *tenant.Tenant) any {
	if t == nil {
		return types.NullValue
	}
	all := *t
	all.Isolation.Edge = all.Isolation.EdgeSharing()
	return all
}
