package iamtest

import (
	"go/types"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/go/packages"
	"golang.org/x/tools/go/ssa"
	"golang.org/x/tools/go/ssa/ssautil"
)

const (
	module = "github.com/gitopsd/gitopsd"
	// services is where the SDK has a package a service, each with its Client.
	services = "github.com/aws/aws-sdk-go-v2/service/"
)

// program is our code in the form that it is followed in. Of what it imports only
// the types are known: whoever gives something a function or an object of ours is
// taken to have it called.
type program struct {
	prog     *ssa.Program
	packages map[string]*packages.Package
	byPath   map[string]*ssa.Package
}

// load reads the packages that the patterns name; overlay has files to read in
// the place of those on disk.
func load(overlay map[string][]byte, patterns ...string) (*program, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	list, err := packages.Load(&packages.Config{
		Mode: packages.LoadSyntax | packages.NeedModule, Dir: root, Overlay: overlay,
		Env: append(os.Environ(), "GOFLAGS=-mod=readonly", "GOOS=linux"), // what runs on AWS runs there
	}, patterns...)
	if err != nil {
		return nil, err
	}
	for _, p := range list {
		for _, e := range p.Errors {
			return nil, e
		}
	}
	prog, all := ssautil.Packages(list, ssa.InstantiateGenerics)
	prog.Build()
	p := &program{prog: prog, packages: map[string]*packages.Package{}, byPath: map[string]*ssa.Package{}}
	for i, l := range list {
		p.packages[l.PkgPath], p.byPath[l.PkgPath] = l, all[i]
	}
	return p, nil
}

// loaded is the whole module, read once for all tests.
var loaded = sync.OnceValues(func() (*program, error) { return load(nil, "./...") })

func ours(t *testing.T) *program {
	t.Helper()
	p, err := loaded()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// function returns a function, or a method as (*T).M, of a package of the module;
// nil if there is none.
func (p *program) function(pkg, name string) *ssa.Function {
	at := p.byPath[module+"/"+pkg]
	if at == nil {
		return nil
	}
	receiver, method, isMethod := strings.Cut(name, ").")
	if !isMethod {
		return at.Func(name)
	}
	named, ok := at.Members[strings.TrimPrefix(receiver, "(*")].(*ssa.Type)
	if !ok {
		return nil
	}
	return p.prog.LookupMethod(types.NewPointer(named.Type()), at.Pkg, method)
}

// client returns the service whose client the type is.
func client(t types.Type) (service string, ok bool) {
	if ptr, isPtr := t.Underlying().(*types.Pointer); isPtr {
		t = ptr.Elem()
	}
	named, isNamed := types.Unalias(t).(*types.Named)
	if !isNamed || named.Obj().Pkg() == nil {
		return "", false
	}
	service, below := strings.CutPrefix(named.Obj().Pkg().Path(), services)
	if !below || strings.Contains(service, "/") {
		return "", false
	}
	switch named.Obj().Name() {
	case "Client", "PresignClient":
		return service, true
	}
	return "", false
}
