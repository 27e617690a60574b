package edge

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/parser"
	"github.com/dop251/goja/token"

	"github.com/gitopsd/gitopsd/infra/functions"
)

// What cloudfront-js-2.0 has.
// Source: CloudFront developer guide, "JavaScript runtime 2.0 features for
// CloudFront Functions".
var (
	runtimeSyntax = words(`Program AssignExpression ArrayLiteral BinaryExpression BooleanLiteral BracketExpression CallExpression
		ConditionalExpression DotExpression FunctionLiteral ArrowFunctionLiteral Identifier NewExpression NullLiteral NumberLiteral ObjectLiteral
		ParameterList PropertyKeyed PropertyShort RegExpLiteral SequenceExpression StringLiteral TemplateElement TemplateLiteral ThisExpression UnaryExpression
		AwaitExpression ExpressionBody Binding BlockStatement BranchStatement CaseStatement CatchStatement DoWhileStatement EmptyStatement
		ExpressionStatement ForInStatement ForStatement ForIntoVar ForIntoExpression ForLoopInitializerExpression ForLoopInitializerVarDeclList ForLoopInitializerLexicalDecl
		ForDeclaration IfStatement LabelledStatement ReturnStatement SwitchStatement ThrowStatement TryStatement VariableStatement VariableDeclaration
		WhileStatement LexicalDeclaration FunctionDeclaration`)
	runtimeGlobals = words(`Object String Number Boolean Array RegExp Date Math JSON Promise Error EvalError InternalError RangeError ReferenceError SyntaxError
		TypeError URIError ArrayBuffer DataView Int8Array Uint8Array Uint8ClampedArray Int16Array Uint16Array Int32Array Uint32Array Float32Array Float64Array
		Buffer TextEncoder TextDecoder decodeURI decodeURIComponent encodeURI encodeURIComponent isFinite isNaN parseFloat parseInt
		Infinity NaN undefined globalThis console atob btoa require`)
	runtimeMethods = words(`assign create defineProperties defineProperty entries freeze getOwnPropertyDescriptor getOwnPropertyDescriptors getOwnPropertyNames
		getPrototypeOf is isExtensible isFrozen isSealed keys preventExtensions seal setPrototypeOf values hasOwnProperty isPrototypeOf propertyIsEnumerable toString valueOf
		fromCharCode fromCodePoint at charAt charCodeAt codePointAt concat endsWith includes indexOf lastIndexOf match matchAll padEnd padStart repeat replace replaceAll
		search slice split startsWith substr substring toLowerCase toUpperCase trim trimEnd trimStart
		isArray of copyWithin every fill filter find findIndex forEach join map pop push reduce reduceRight reverse shift some sort splice unshift
		isFinite isInteger isNaN isSafeInteger parseFloat parseInt toExponential toFixed toPrecision exec test parse stringify
		abs ceil floor max min pow random round sqrt now getTime toISOString all allSettled any race reject resolve then catch finally log apply bind call`)
	runtimeModules = map[string][]string{"cloudfront": words("kvs get exists count meta updateRequestOrigin selectRequestOriginById createRequestOriginGroup")}
)

func words(s string) []string { return strings.Fields(s) }

// foreign says what in a function's source the runtime does not have.
func foreign(source string) ([]string, error) {
	script := moduleImport.ReplaceAllString(source, "const $1 = cloudfront;")
	program, err := parser.ParseFile(nil, "function.js", script, 0)
	if err != nil {
		return nil, err
	}
	w := &walker{declared: map[string]bool{"cloudfront": true, "arguments": true}, used: map[string]bool{}}
	w.walk(reflect.ValueOf(program), false)
	for name := range w.used {
		if !w.declared[name] && !slices.Contains(runtimeGlobals, name) {
			w.found = append(w.found, "global "+name)
		}
	}
	slices.Sort(w.found)
	return slices.Compact(w.found), nil
}

// walker goes through a syntax tree by reflection, so that no kind of node is
// passed over that this test does not know.
type walker struct {
	declared, used map[string]bool
	found          []string
}

func (w *walker) walk(v reflect.Value, async bool) {
	switch v.Kind() {
	case reflect.Interface:
		if !v.IsNil() {
			w.walk(v.Elem(), async)
		}
	case reflect.Pointer:
		if !v.IsNil() && strings.HasSuffix(v.Type().Elem().PkgPath(), "goja/ast") {
			w.node(v, async)
		}
	case reflect.Slice:
		for i := range v.Len() {
			w.walk(v.Index(i), async)
		}
	case reflect.Struct:
		if strings.HasSuffix(v.Type().PkgPath(), "goja/ast") {
			for i := range v.NumField() {
				// Declarations are repeated in lists of their own.
				if name := v.Type().Field(i).Name; name != "DeclarationList" && name != "File" {
					w.walk(v.Field(i), async)
				}
			}
		}
	}
}

func (w *walker) node(v reflect.Value, async bool) {
	kind := v.Type().Elem().Name()
	if !slices.Contains(runtimeSyntax, kind) {
		w.found = append(w.found, "syntax "+kind)
	}
	switch n := v.Interface().(type) {
	case *ast.Identifier:
		w.used[n.Name.String()] = true
	case *ast.Binding:
		if id, ok := n.Target.(*ast.Identifier); ok {
			w.declared[id.Name.String()] = true
		}
	case *ast.FunctionLiteral:
		if n.Name != nil {
			w.declared[n.Name.Name.String()] = true
		}
		if n.Generator {
			w.found = append(w.found, "syntax generator")
		}
		if n.Async && async {
			w.found = append(w.found, "async closure")
		}
		async = async || n.Async
	case *ast.ArrowFunctionLiteral:
		if n.Async {
			w.found = append(w.found, "async closure")
		}
	case *ast.CatchStatement:
		if id, ok := n.Parameter.(*ast.Identifier); ok {
			w.declared[id.Name.String()] = true
		}
	case *ast.BinaryExpression:
		if n.Operator == token.COALESCE {
			w.found = append(w.found, "operator ??")
		}
	case *ast.DotExpression: // its name is an identifier of no scope
		w.walk(reflect.ValueOf(n.Left), async)
		return
	case *ast.PropertyKeyed:
		if n.Kind != ast.PropertyKindValue && n.Kind != ast.PropertyKindGet && n.Kind != ast.PropertyKindSet {
			w.found = append(w.found, fmt.Sprintf("property kind %s", n.Kind))
		}
	case *ast.CallExpression:
		if dot, ok := n.Callee.(*ast.DotExpression); ok {
			name := dot.Identifier.Name.String()
			if !slices.Contains(runtimeMethods, name) && !slices.Contains(runtimeModules["cloudfront"], name) {
				w.found = append(w.found, "method "+name)
			}
		}
		if slices.ContainsFunc(n.ArgumentList, func(e ast.Expression) bool { _, is := e.(*ast.AwaitExpression); return is }) {
			w.found = append(w.found, "async argument")
		}
	}
	w.walk(v.Elem(), async)
}

// TestRuntimeFeatures: the functions use nothing that CloudFront's runtime lacks.
// Both interpreters here have more than it has.
func TestRuntimeFeatures(t *testing.T) {
	for name, source := range map[string]string{"viewer-request.js": functions.ViewerRequest, "viewer-response.js": functions.ViewerResponse} {
		found, err := foreign(source)
		if err != nil || len(found) > 0 {
			t.Errorf("%s: %q, %v", name, found, err)
		}
	}
	// What the check is worth: each of these is found.
	for source, want := range map[string]string{
		"function handler(e) { class A {} return e.request; }":                      "syntax ClassDeclaration",
		"function handler(e) { for (const h of [1]) {} return e.request; }":         "syntax ForOfStatement",
		"function handler(e) { const {request} = e; return request; }":              "syntax ObjectPattern",
		"function handler(e) { return Object.assign({}, ...[e.request]); }":         "syntax SpreadElement",
		"function handler(e) { return e?.request; }":                                "syntax Optional",
		"function handler(e) { return e.request ?? e; }":                            "operator ??",
		"function* handler(e) { yield e; }":                                         "syntax generator",
		"function handler(e) { return eval('e.request'); }":                         "global eval",
		"function handler(e) { return new Function('return 1')(); }":                "global Function",
		"function handler(e) { setTimeout(handler, 1); return e.request; }":         "global setTimeout",
		"function handler(e) { return fetch('https://x'); }":                        "global fetch",
		"function handler(e) { return process.env; }":                               "global process",
		"function handler(e) { return new Map(); }":                                 "global Map",
		"function handler(e) { return Object.fromEntries([]); }":                    "method fromEntries",
		"function handler(e) { return [1].flatMap(String); }":                       "method flatMap",
		"async function handler(e) { return [async () => 1]; }":                     "async closure",
		"async function handler(e) { return String(await e.request); }":             "async argument",
		"function handler(e) { return e.request.uri.toWellFormed() || e.request; }": "method toWellFormed",
	} {
		found, err := foreign(source)
		if err != nil || !slices.Contains(found, want) {
			t.Errorf("%s: found %q, %v, want %q", source, found, err, want)
		}
	}
}
