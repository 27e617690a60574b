package edge

import (
	"sort"

	"github.com/dop251/goja"
)

// call is one run of a function: the event as the function sees it, and what
// it looked at.
type call struct {
	vm      *goja.Runtime
	event   *Event
	result  *goja.Object // what the function is to return: the request, or the response
	headers *headerView  // of the result
	lookups []lookup
	// broad: the outcome may depend on more than the event's type, the request's
	// method, host and header names, the response's status and header names,
	// and the lookups.
	broad   bool
	refused []string // changes this edge does not carry out
}

// lookup is one question to the key-value store and its answer.
type lookup struct {
	key, value string
	ok         bool
}

// view returns the event as an object whose every property is read through Go.
func (c *call) view() *goja.Object {
	ev := c.event
	req := &headerView{call: c, event: ev.Request.Headers, narrow: ev.Response == nil}
	request := c.object("request", map[string]field{
		"method":      {value: func() any { return ev.Request.Method }, narrow: ev.Response == nil},
		"uri":         {value: func() any { return ev.Request.URI }},
		"querystring": {value: func() any { return plain(c.vm, ev.Request.Querystring) }},
		"cookies":     {value: func() any { return plain(c.vm, ev.Request.Cookies) }},
		"headers":     {object: c.vm.NewDynamicObject(req), narrow: true},
	})
	fields := map[string]field{
		"version": {value: func() any { return ev.Version }, narrow: true},
		"context": {value: func() any { return plainContext(c.vm, ev.Context) }},
		"viewer":  {value: func() any { return map[string]any{"ip": ev.Viewer.IP} }},
		"request": {object: request, narrow: true},
	}
	c.result, c.headers = request, req
	if res := ev.Response; res != nil {
		c.headers = &headerView{call: c, event: res.Headers, narrow: true}
		c.result = c.object("response", map[string]field{
			"statusCode":        {value: func() any { return res.StatusCode }, narrow: true},
			"statusDescription": {value: func() any { return res.StatusDescription }, narrow: true},
			"cookies":           {value: func() any { return plain(c.vm, res.Cookies) }},
			"headers":           {object: c.vm.NewDynamicObject(c.headers), narrow: true},
		})
		fields["response"] = field{object: c.result, narrow: true}
	}
	return c.object("event", fields)
}

// field is a property of a fixed object. Reading one that is not narrow makes
// the call broad.
type field struct {
	value  func() any
	object *goja.Object
	narrow bool
}

// fixed is an object whose properties can be read and not changed.
type fixed struct {
	call   *call
	name   string
	fields map[string]field
}

func (c *call) object(name string, fields map[string]field) *goja.Object {
	return c.vm.NewDynamicObject(&fixed{c, name, fields})
}

func (o *fixed) Get(key string) goja.Value {
	f, ok := o.fields[key]
	switch {
	case !ok:
		return nil
	case f.object != nil:
		return f.object
	}
	o.call.broad = o.call.broad || !f.narrow
	return o.call.vm.ToValue(f.value())
}

func (o *fixed) Set(key string, _ goja.Value) bool {
	o.call.refused = append(o.call.refused, o.name+"."+key)
	return true
}

func (o *fixed) Has(key string) bool { _, ok := o.fields[key]; return ok }

func (o *fixed) Delete(key string) bool { return o.Set(key, nil) }

func (o *fixed) Keys() []string {
	keys := make([]string, 0, len(o.fields))
	for k := range o.fields {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

// headerView is a headers object: names are seen freely, values are noted,
// changes are kept aside.
type headerView struct {
	call    *call
	event   map[string]Values
	changed map[string]*Values // nil: deleted
	narrow  bool               // the names are part of what a memo goes by
}

func (v *headerView) current(key string) (Values, bool) {
	v.call.broad = v.call.broad || !v.narrow
	if now, ok := v.changed[key]; ok {
		if now == nil {
			return Values{}, false
		}
		return *now, true
	}
	was, ok := v.event[key]
	return was, ok
}

func (v *headerView) Get(key string) goja.Value {
	values, ok := v.current(key)
	if !ok {
		return nil
	}
	read := func() Values {
		// The host is the one value a request's memo goes by.
		if _, own := v.changed[key]; !own && (key != "host" || v.call.event.Response != nil) {
			v.call.broad = true
		}
		return values
	}
	fields := map[string]field{"value": {value: func() any { return read().Value }, narrow: true}}
	if len(values.MultiValue) > 0 {
		v.call.broad = true // how many there are is seen
		fields["multiValue"] = field{value: func() any { return multi(read()) }, narrow: true}
	}
	return v.call.object("headers."+key, fields)
}

func (v *headerView) Set(key string, val goja.Value) bool {
	values, err := exportValues(v.call.vm, val)
	if err != nil {
		v.call.refused = append(v.call.refused, "headers."+key+" ("+err.Error()+")")
		return true
	}
	if v.changed == nil {
		v.changed = map[string]*Values{}
	}
	v.changed[key] = &values
	return true
}

func (v *headerView) Has(key string) bool { _, ok := v.current(key); return ok }

func (v *headerView) Delete(key string) bool {
	if v.changed == nil {
		v.changed = map[string]*Values{}
	}
	v.changed[key] = nil
	return true
}

// Keys returns the names in order, so that a result never depends on a map's.
func (v *headerView) Keys() []string {
	v.call.broad = v.call.broad || !v.narrow
	keys := make([]string, 0, len(v.event)+1)
	for k := range v.event {
		if now, ok := v.changed[k]; !ok || now != nil {
			keys = append(keys, k)
		}
	}
	for k, now := range v.changed {
		if _, was := v.event[k]; !was && now != nil {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys
}

func plain(vm *goja.Runtime, m map[string]Values) *goja.Object {
	o := vm.NewObject()
	for name, v := range m {
		entry := map[string]any{"value": v.Value}
		if len(v.MultiValue) > 0 {
			entry["multiValue"] = multi(v)
		}
		_ = o.Set(name, entry)
	}
	return o
}

func multi(v Values) []any {
	out := make([]any, 0, len(v.MultiValue))
	for _, m := range v.MultiValue {
		out = append(out, map[string]any{"value": m.Value})
	}
	return out
}

func plainContext(vm *goja.Runtime, c EventContext) *goja.Object {
	o := vm.NewObject()
	_ = o.Set("distributionDomainName", c.DistributionDomainName)
	_ = o.Set("distributionId", c.DistributionID)
	_ = o.Set("eventType", c.EventType)
	_ = o.Set("requestId", c.RequestID)
	return o
}
