package policy

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	stdsync "sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// Bounds of an expression's form.
const (
	maxNodes   = 1_000
	maxNesting = 50
	maxRegexp  = 1_000 // instructions of a compiled one
)

// errTooCostly is said of what passes a bound of its cost.
var errTooCostly = errors.New("it costs too much")

// language is CEL as rules speak it: standard CEL with optional values and the
// extensions for strings, lists and sets, in which a label that a tenant lacks
// reads as the empty text.
type language struct {
	env     *cel.Env
	lenient *cel.StaticOptimizer
}

// theLanguage is made when the first rule is read.
var theLanguage = stdsync.OnceValues(func() (*language, error) {
	env, err := cel.NewEnv(
		cel.OptionalTypes(), ext.Strings(), ext.Lists(), ext.Sets(),
		ext.NativeTypes(reflect.TypeFor[tenant.Tenant](), reflect.TypeFor[Change](), ext.ParseStructTag("json")),
		func(env *cel.Env) (*cel.Env, error) {
			return cel.CustomTypeProvider(strictFields{env.CELTypeProvider()})(env)
		},
		cel.Variable("tenant", cel.ObjectType("tenant.Tenant")),
		cel.Variable("applied", cel.ObjectType("tenant.Tenant")),
		cel.Variable("change", cel.ObjectType("policy.Change")),
		cel.DefaultUTCTimeZone(true),
		cel.ParserRecursionLimit(maxNesting), cel.ExpressionNestingDepthLimit(2*maxNesting),
		cel.ExpressionNodeLimit(maxNodes), cel.RegexProgramSizeLimit(maxRegexp),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals()),
	)
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	lenient, err := cel.NewStaticOptimizer(lenientLabels{})
	if err != nil {
		return nil, fmt.Errorf("set up CEL: %w", err)
	}
	return &language{env: env, lenient: lenient}, nil
})

// strictFields makes it an error to read a field of null, which CEL takes for
// null again: applied.compute.cpu != 256 would hold for a new tenant.
type strictFields struct{ types.Provider }

// FindStructFieldType returns a field's type and how to read it.
func (p strictFields) FindStructFieldType(of, field string) (*types.FieldType, bool) {
	found, ok := p.Provider.FindStructFieldType(of, field)
	if !ok {
		return nil, false
	}
	strict := *found
	strict.GetFrom = func(object any) (any, error) {
		if reflect.Indirect(reflect.ValueOf(object)).Kind() != reflect.Struct {
			return nil, fmt.Errorf("%s is read of null", field)
		}
		value, err := found.GetFrom(object)
		if err == nil && reflect.ValueOf(value).Kind() == reflect.Pointer && !found.IsSet(object) {
			return nil, nil // a part that is not there is null, too
		}
		return value, err
	}
	return &strict, true
}

// flaw is what is wrong with an expression, at a line and column of it, from 1.
type flaw struct {
	line, column  int
	message, hint string
}

// compile returns an expression ready to be asked about steps of the given
// kinds, or what is wrong with it.
func (l *language) compile(text string, on []string) (cel.Program, []flaw) {
	checked, issues := l.env.Compile(text)
	if issues.Err() != nil {
		return nil, flaws(issues)
	}
	if t := checked.OutputType(); !t.IsExactType(types.BoolType) {
		return nil, []flaw{{1, 1, fmt.Sprintf("it is a %s, but must be a bool", t), ""}}
	}
	if wrong := misses(checked, on); wrong != nil {
		return nil, wrong
	}
	lenient, issues := l.lenient.Optimize(l.env, checked)
	if issues.Err() != nil {
		return nil, flaws(issues)
	}
	cost, err := l.env.EstimateCost(lenient, sizes{})
	if err != nil {
		return nil, []flaw{{1, 1, "its cost cannot be estimated: " + err.Error(), ""}}
	}
	if cost.Max > maxWorstCost {
		return nil, []flaw{{1, 1, "it could cost too much", "compare shorter texts, or nest fewer loops"}}
	}
	program, err := l.env.Program(lenient,
		cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxRuleCost), cel.InterruptCheckFrequency(100))
	if err != nil {
		return nil, []flaw{{1, 1, sentence(err), ""}}
	}
	return program, nil
}

// flaws returns the first things that CEL found wrong.
func flaws(issues *cel.Issues) []flaw {
	const most = 3
	var all []flaw
	for _, e := range issues.Errors() {
		line, column := e.Location.Line(), e.Location.Column()+1
		if line < 1 || column < 1 {
			line, column = 1, 1
		}
		message, _, _ := strings.Cut(e.Message, " (in container")
		all = append(all, flaw{line, column, oneLine(message), ""})
		if len(all) == most {
			break
		}
	}
	return all
}

// misses finds rules that could never do what they say: ones that speak of
// deletions and are not asked about any, and ones that are asked about nothing
// else and read the tenant's file.
func misses(checked *cel.Ast, on []string) []flaw {
	rep := checked.NativeRep()
	at := func(e ast.Expr, message, hint string) []flaw {
		start := rep.SourceInfo().GetStartLocation(e.ID())
		return []flaw{{max(start.Line(), 1), max(start.Column()+1, 1), message, hint}}
	}
	var found []flaw
	ast.PreOrderVisit(rep.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch {
		case found != nil:
		case e.Kind() == ast.LiteralKind && !slices.Contains(on, onDeletion) &&
			e.AsLiteral().Value() == string(plan.Deprovision):
			found = at(e, "it speaks of deprovision, but is not asked about deletions", "add on: [deletion]")
		case e.Kind() == ast.SelectKind && !slices.Contains(on, onChange) && isVariable(e.AsSelect().Operand(), "tenant"):
			found = at(e, "tenant is null on a deletion", "read applied, which is what the tenant was")
		}
	}))
	return found
}

func isVariable(e ast.Expr, names ...string) bool {
	return e.Kind() == ast.IdentKind && slices.Contains(names, e.AsIdent())
}

// lenientLabels makes a label, or a variable of env, that is not there read as
// the empty text: in tenant.labels.plan == "pro" the label may be missing. Whether
// it is there is still what has() and in say.
type lenientLabels struct{}

// Optimize rewrites m.k and m[k] to m[?k].orValue("").
func (lenientLabels) Optimize(ctx *cel.OptimizerContext, a *ast.AST) *ast.AST {
	type lookup struct{ at, of, key ast.Expr }
	var lookups []lookup
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			if s := e.AsSelect(); !s.IsTestOnly() && isTexts(s.Operand()) {
				lookups = append(lookups, lookup{e, s.Operand(), ctx.NewLiteral(types.String(s.FieldName()))})
			}
		case ast.CallKind:
			if c := e.AsCall(); c.FunctionName() == operators.Index && isTexts(c.Args()[0]) {
				lookups = append(lookups, lookup{e, c.Args()[0], c.Args()[1]})
			}
		}
	}))
	for _, l := range lookups {
		found := ctx.NewCall(operators.OptIndex, ctx.CopyASTAndMetadata(ctx.NewAST(l.of)), ctx.CopyASTAndMetadata(ctx.NewAST(l.key)))
		ctx.UpdateExpr(l.at, ctx.NewMemberCall("orValue", found, ctx.NewLiteral(types.String(""))))
	}
	return a
}

// isTexts reports whether an expression is tenant.labels, or one like it.
func isTexts(e ast.Expr) bool {
	if e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() {
		return false
	}
	switch of := e.AsSelect().Operand(); e.AsSelect().FieldName() {
	case "labels":
		return isVariable(of, "tenant", "applied")
	case "env":
		return of.Kind() == ast.SelectKind && of.AsSelect().FieldName() == "app" && isVariable(of.AsSelect().Operand(), "tenant", "applied")
	}
	return false
}

// sentence words an evaluation's error.
func sentence(err error) string {
	text := oneLine(err.Error())
	if strings.Contains(text, "cost limit exceeded") {
		return errTooCostly.Error()
	}
	return text
}

// oneLine keeps what is said on one line, and short.
func oneLine(text string) string {
	const most = 200
	text = strings.Join(strings.FieldsFunc(text, func(c rune) bool { return c < ' ' || c == 0x7F }), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
