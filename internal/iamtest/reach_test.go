package iamtest

import (
	"cmp"
	"go/ast"
	"go/types"
	"maps"
	"slices"
	"strings"

	"golang.org/x/tools/go/ssa"
)

// call is an operation of AWS's API: "s3", "HeadBucket".
type call struct{ service, operation string }

// reach follows what can be run from some functions on.
//
// A function that names another may call it, whether it does or hands it on: so
// closures that errgroup or the Automation API call are followed, and calls through
// variables need not be. A method called through an interface is that of each type
// that something followed has made a value of an interface; what a library is given
// that way, it may call by its own interfaces.
type reach struct {
	p     *program
	seen  map[*ssa.Function]bool
	by    map[*ssa.Function]*ssa.Function // who led there first
	now   *ssa.Function                   // is being looked into
	queue []*ssa.Function
	// cut are functions that are not looked into.
	cut map[*ssa.Function]bool

	live    map[types.Type]bool // types of which there are values behind interfaces
	invoked map[*types.Func]bool
	calls   map[call]*ssa.Function // with one that makes it
	// offered are the operations that an interface which a client became has, and
	// that count if they are called through it.
	offered map[*types.Func][]call
	// given are the operations that a library was given a client for, by its package;
	// they count once a method of a type of that package is called.
	given map[string][]call
	used  map[string]bool
}

// callable are the methods by which libraries find out what a value can, whatever
// interface they were given it as.
var callable = map[string]bool{
	"Error": true, "String": true, "Unwrap": true, "Is": true, "As": true, "LogValue": true,
	"MarshalJSON": true, "UnmarshalJSON": true, "MarshalText": true, "UnmarshalText": true, "UnmarshalYAML": true, "MarshalYAML": true,
}

func (p *program) from(cut []*ssa.Function, roots ...*ssa.Function) *reach {
	r := &reach{
		p: p, seen: map[*ssa.Function]bool{}, by: map[*ssa.Function]*ssa.Function{}, cut: map[*ssa.Function]bool{}, live: map[types.Type]bool{},
		invoked: map[*types.Func]bool{}, calls: map[call]*ssa.Function{}, offered: map[*types.Func][]call{},
		given: map[string][]call{}, used: map[string]bool{},
	}
	for _, f := range cut {
		r.cut[f] = true
	}
	for _, f := range roots {
		r.add(f)
	}
	r.run()
	return r
}

func (r *reach) add(f *ssa.Function) {
	if f != nil && !r.seen[f] {
		r.seen[f], r.by[f] = true, r.now
		r.queue = append(r.queue, f)
	}
}

func (r *reach) run() {
	for len(r.queue) > 0 {
		f := r.queue[len(r.queue)-1]
		r.queue = r.queue[:len(r.queue)-1]
		if r.cut[f] {
			continue
		}
		r.now = f
		for _, b := range f.Blocks {
			for _, in := range b.Instrs {
				r.instruction(f, in)
			}
		}
		if f.Pkg != nil { // whoever runs a package's code has run its initialization
			r.add(f.Pkg.Func("init"))
		}
	}
}

func (r *reach) instruction(f *ssa.Function, in ssa.Instruction) {
	for _, op := range in.Operands(nil) {
		if g, ok := (*op).(*ssa.Function); ok {
			r.mention(f, g)
		}
	}
	switch in := in.(type) {
	case ssa.CallInstruction:
		if c := in.Common(); c.IsInvoke() {
			r.invoke(f, c.Method)
		}
	case *ssa.MakeInterface:
		r.box(f, in.X.Type(), in.Type())
	case *ssa.ChangeInterface:
		r.widen(in)
	}
}

// mention follows a function that another names.
func (r *reach) mention(by, f *ssa.Function) {
	if obj, ok := f.Object().(*types.Func); ok {
		sig := obj.Signature()
		if recv := sig.Recv(); recv != nil {
			if service, isClient := client(recv.Type()); isClient && operation(obj) {
				r.calls[call{service, strings.TrimPrefix(obj.Name(), "Presign")}] = by
				return
			}
			if pkg := obj.Pkg(); pkg != nil && !strings.HasPrefix(pkg.Path(), module) {
				r.use(by, pkg.Path())
			}
			if types.IsInterface(recv.Type()) { // a method value of an interface, bound
				r.invoke(by, obj)
			}
		}
	}
	r.add(f)
}

// operation reports whether a client's method is one of the API.
func operation(f *types.Func) bool {
	sig := f.Signature()
	return f.Exported() && sig.Params().Len() >= 2 && strings.HasSuffix(sig.Params().At(1).Type().String(), "Input")
}

// use counts what a library was given a client for.
func (r *reach) use(by *ssa.Function, pkg string) {
	r.used[pkg] = true
	for _, c := range r.given[pkg] {
		r.calls[c] = by
	}
	delete(r.given, pkg)
}

// box notes that a value became one of an interface. A client that became one of
// ours makes the calls that are made through it; a library that was given it is
// taken to make all that its interface has, once it is used: so do paginators,
// waiters and transfers in parts.
func (r *reach) box(by *ssa.Function, t, as types.Type) {
	iface, ok := as.Underlying().(*types.Interface)
	if !ok {
		return
	}
	if service, isClient := client(t); isClient {
		library := ""
		if named, isNamed := types.Unalias(as).(*types.Named); isNamed && !local(as) {
			library = named.Obj().Pkg().Path()
		}
		for i := range iface.NumMethods() {
			m := iface.Method(i)
			c := call{service, strings.TrimPrefix(m.Name(), "Presign")}
			switch {
			case library != "" && !r.used[library]:
				r.given[library] = append(r.given[library], c)
			case library != "" || r.invoked[m]:
				r.calls[c] = by
			default:
				r.offered[m] = append(r.offered[m], c)
			}
		}
		return
	}
	if !r.live[t] {
		r.live[t] = true
		for m := range r.invoked {
			r.dispatch(t, m)
		}
	}
	for name := range callable {
		r.add(r.method(t, name))
	}
	if !local(as) { // a library's: it may call all of it
		for i := range iface.NumMethods() {
			r.add(r.method(t, iface.Method(i).Name()))
		}
	}
}

// widen follows a value of an interface of ours that is handed on as a library's.
func (r *reach) widen(in *ssa.ChangeInterface) {
	if iface, ok := in.Type().Underlying().(*types.Interface); ok && !local(in.Type()) {
		for i := range iface.NumMethods() {
			r.invoke(in.Parent(), iface.Method(i))
		}
	}
}

// local reports whether an interface is declared in our module, or nowhere.
func local(t types.Type) bool {
	named, ok := types.Unalias(t).(*types.Named)
	return !ok || named.Obj().Pkg() == nil || strings.HasPrefix(named.Obj().Pkg().Path(), module)
}

func (r *reach) invoke(by *ssa.Function, m *types.Func) {
	if r.invoked[m] {
		return
	}
	r.invoked[m] = true
	for _, c := range r.offered[m] {
		r.calls[c] = by
	}
	for t := range r.live {
		r.dispatch(t, m)
	}
}

// dispatch follows the method of a type that a call through an interface may be.
func (r *reach) dispatch(t types.Type, m *types.Func) {
	iface, ok := m.Signature().Recv().Type().Underlying().(*types.Interface)
	if ok && types.Implements(t, iface) {
		r.add(r.method(t, m.Name()))
	}
}

// method returns a type's method if it is of ours.
func (r *reach) method(t types.Type, name string) *ssa.Function {
	sel := r.p.prog.MethodSets.MethodSet(t).Lookup(packageOf(t), name)
	if sel == nil {
		return nil
	}
	return r.p.prog.MethodValue(sel)
}

func packageOf(t types.Type) *types.Package {
	if ptr, ok := t.(*types.Pointer); ok {
		t = ptr.Elem()
	}
	if named, ok := types.Unalias(t).(*types.Named); ok {
		return named.Obj().Pkg()
	}
	return nil
}

// list returns the calls in order.
func (r *reach) list() []call {
	return slices.SortedFunc(maps.Keys(r.calls), func(a, b call) int {
		return cmp.Or(cmp.Compare(a.service, b.service), cmp.Compare(a.operation, b.operation))
	})
}

// tasks returns the methods behind each task of pipeline.Tasks: what its entry of
// the map names, be it a task or a method of the driver that is made one.
func (p *program) tasks() map[string][]*types.Func {
	pkg := p.packages[module+"/internal/pipeline"]
	out := map[string][]*types.Func{}
	for _, file := range pkg.Syntax {
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Recv != nil || f.Name.Name != "Tasks" {
				continue
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				kv, ok := n.(*ast.KeyValueExpr)
				if !ok {
					return true
				}
				name := strings.Trim(kv.Key.(*ast.BasicLit).Value, `"`)
				ast.Inspect(kv.Value, func(n ast.Node) bool {
					if s, ok := n.(*ast.SelectorExpr); ok {
						if sel := pkg.TypesInfo.Selections[s]; sel != nil && sel.Kind() == types.MethodVal {
							out[name] = append(out[name], sel.Obj().(*types.Func))
						}
					}
					return true
				})
				return false
			})
		}
	}
	return out
}

// why says how a call that needs the action was come to, from the root on.
func (r *reach) why(action string) string {
	for c, f := range r.calls {
		if !slices.Contains(actions([]call{c}), action) {
			continue
		}
		var names []string
		for ; f != nil; f = r.by[f] {
			names = append(names, f.RelString(nil))
		}
		slices.Reverse(names)
		return ": " + strings.ReplaceAll(strings.Join(names, " > "), module+"/", "")
	}
	return ""
}
