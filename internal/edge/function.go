package edge

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sort"
	"strings"
	"sync"

	"github.com/dop251/goja"
)

// Store is the key-value store of a function; it reports whether the key is there.
type Store func(key string) (value string, ok bool)

// Function is a CDN function, run as CloudFront runs it: the file's bytes are
// the ones AWS gets. The import of CloudFront's own module, which the
// interpreter has no syntax for, becomes a constant on the same line.
//
// What the interpreter gives a function is what CloudFront gives and no more;
// clock and chance are taken away, so that a result depends on the event and
// the store alone and can be remembered (see memo).
type Function struct {
	program *goja.Program
	store   Store
	pool    sync.Pool // of *machine
}

var (
	moduleImport = regexp.MustCompile(`(?m)^import ([A-Za-z_$][A-Za-z0-9_$]*) from 'cloudfront';[ \t]*$`)
	otherModule  = regexp.MustCompile(`(?m)^[ \t]*(import|export)\b`)
)

// NewFunction compiles a function's source.
func NewFunction(name, source string, store Store) (*Function, error) {
	script := moduleImport.ReplaceAllString(source, "const $1 = cloudfront;")
	if at := otherModule.FindString(script); at != "" {
		return nil, fmt.Errorf("function %s: only \"import x from 'cloudfront';\" is supported", name)
	}
	program, err := goja.Compile(name, script, true)
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", name, err)
	}
	f := &Function{program: program, store: store}
	m, err := f.newMachine()
	if err != nil {
		return nil, fmt.Errorf("function %s: %w", name, err)
	}
	f.pool.Put(m)
	return f, nil
}

// machine is one interpreter with the function loaded. One call at a time.
type machine struct {
	vm      *goja.Runtime
	handler goja.Callable
	call    *call // the one going on
}

func (f *Function) newMachine() (*machine, error) {
	vm := goja.New()
	m := &machine{vm: vm}
	for _, name := range []string{"Date"} {
		if err := vm.GlobalObject().Delete(name); err != nil {
			return nil, err
		}
	}
	if err := vm.Get("Math").ToObject(vm).Delete("random"); err != nil {
		return nil, err
	}
	module := vm.NewObject()
	err := module.Set("kvs", func(goja.FunctionCall) goja.Value {
		handle := vm.NewObject()
		_ = handle.Set("get", func(fc goja.FunctionCall) goja.Value { return m.kvsGet(f.store, fc) })
		return handle
	})
	if err != nil {
		return nil, err
	}
	if err := vm.Set("cloudfront", module); err != nil {
		return nil, err
	}
	if _, err := vm.RunProgram(f.program); err != nil {
		return nil, err
	}
	handler, ok := goja.AssertFunction(vm.Get("handler"))
	if !ok {
		return nil, errors.New("no function named handler")
	}
	m.handler = handler
	return m, nil
}

// kvsGet is the store handle's get(key): a promise of the value, rejected if
// there is none.
func (m *machine) kvsGet(store Store, fc goja.FunctionCall) goja.Value {
	promise, resolve, reject := m.vm.NewPromise()
	key := fc.Argument(0).String()
	value, ok := store(key)
	if m.call != nil {
		m.call.lookups = append(m.call.lookups, lookup{key, value, ok})
	}
	if ok {
		_ = resolve(value)
	} else {
		_ = reject(m.vm.NewGoError(fmt.Errorf("key %q not found", key)))
	}
	return m.vm.ToValue(promise)
}

// Call runs the function on an event.
func (f *Function) Call(ev *Event) (*Outcome, error) {
	out, _, err := f.run(ev)
	return out, err
}

// run is Call that also says what the outcome depends on.
func (f *Function) run(ev *Event) (*Outcome, *call, error) {
	m, _ := f.pool.Get().(*machine)
	if m == nil {
		var err error
		if m, err = f.newMachine(); err != nil {
			return nil, nil, err
		}
	}
	c := &call{vm: m.vm, event: ev}
	m.call = c
	out, err := m.invoke(c)
	m.call = nil
	if err != nil {
		return nil, nil, err // the machine may be in any state: it is let go
	}
	f.pool.Put(m)
	return out, c, nil
}

func (m *machine) invoke(c *call) (*Outcome, error) {
	result, err := m.handler(goja.Undefined(), c.view())
	if err != nil {
		return nil, err
	}
	// The promise's jobs have run when the outermost call returns.
	if p, ok := result.Export().(*goja.Promise); ok {
		switch p.State() {
		case goja.PromiseStateRejected:
			return nil, fmt.Errorf("function threw: %s", p.Result().String())
		case goja.PromiseStatePending:
			return nil, errors.New("function awaits what never comes")
		}
		result = p.Result()
	}
	if len(c.refused) > 0 {
		return nil, fmt.Errorf("function changed what this edge does not change: %s", strings.Join(c.refused, ", "))
	}
	obj, ok := result.(*goja.Object)
	switch {
	case !ok:
		return nil, errors.New("function returned neither a request nor a response")
	case obj == c.result:
		return c.headers.outcome(), nil
	case c.event.Response != nil || obj.Get("statusCode") == nil:
		return nil, errors.New("function returned another object than it was given")
	}
	return m.answer(obj)
}

// answer reads a response that a viewer-request function made.
func (m *machine) answer(obj *goja.Object) (*Outcome, error) {
	a := &Answer{StatusCode: int(obj.Get("statusCode").ToInteger())}
	if a.StatusCode < 200 || a.StatusCode > 599 {
		return nil, fmt.Errorf("function answered with status %d", a.StatusCode)
	}
	if h := obj.Get("headers"); h != nil {
		headers := map[string]Values{}
		o := h.ToObject(m.vm)
		for _, name := range o.Keys() {
			v, err := exportValues(m.vm, o.Get(name))
			if err != nil {
				return nil, fmt.Errorf("header %s: %w", name, err)
			}
			headers[name] = v
		}
		a.Headers = changesOf(headers)
	}
	if b := obj.Get("body"); b != nil {
		a.Body = b.String()
	}
	return &Outcome{Answer: a}, nil
}

// exportValues reads {value, multiValue}.
func exportValues(vm *goja.Runtime, v goja.Value) (Values, error) {
	obj, ok := v.(*goja.Object)
	if !ok || obj.Get("value") == nil {
		return Values{}, errors.New("not an object with a value")
	}
	out := Values{Value: obj.Get("value").String()}
	if multi := obj.Get("multiValue"); multi != nil {
		if err := vm.ExportTo(multi, &out.MultiValue); err != nil {
			return Values{}, err
		}
	}
	for _, s := range out.strings() {
		if strings.ContainsAny(s, "\r\n\x00") {
			return Values{}, errors.New("a value with a line break")
		}
	}
	return out, nil
}

// outcome returns the changes made to the headers.
func (v *headerView) outcome() *Outcome {
	o := &Outcome{}
	changed := map[string]Values{}
	for name, now := range v.changed {
		if now == nil {
			if _, was := v.event[name]; was {
				o.Delete = append(o.Delete, http.CanonicalHeaderKey(name))
			}
			continue
		}
		changed[name] = *now
	}
	sort.Strings(o.Delete)
	o.Set = changesOf(changed)
	return o
}
