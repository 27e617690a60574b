package awstest

import (
	"net/http"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"sync"
)

// rest is a service whose calls are named by method and path. One call at a time.
type rest struct {
	mu     *sync.Mutex
	routes []route
	codec  codec
	// locked, unless nil, is told before each call, with the lock.
	before func()
}

// route is one call: "GET /2020-05-31/distribution/{Id}". What is in braces, and
// what is in the query, are fields of the call's input.
type route struct {
	name    string
	method  string
	path    *regexp.Regexp
	fields  []string          // of the path
	query   map[string]string // what must be in the query; "" for anything
	payload string            // the input's field that is the body; "": the input itself
	do      operation
}

// codec reads and writes bodies.
type codec interface {
	read(r *http.Request, payload string, input reflect.Value) error
	write(w http.ResponseWriter, operation string, output reflect.Value)
	refuse(w http.ResponseWriter, no *refusal)
}

var brace = regexp.MustCompile(`\{([A-Za-z]+)\}`)

// call makes a route. where is a method, a path and, optionally, a query.
func call(name, where, payload string, do operation) route {
	method, path, _ := strings.Cut(where, " ")
	path, query, _ := strings.Cut(path, "?")
	r := route{name: name, method: method, payload: payload, do: do, query: map[string]string{}}
	for _, m := range brace.FindAllStringSubmatch(path, -1) {
		r.fields = append(r.fields, m[1])
	}
	r.path = regexp.MustCompile("^" + brace.ReplaceAllString(path, "([^/]+)") + "$")
	for _, pair := range strings.FieldsFunc(query, func(c rune) bool { return c == '&' }) {
		k, v, _ := strings.Cut(pair, "=")
		r.query[k] = v
	}
	return r
}

func (s *rest) find(r *http.Request) (*route, []string) {
	query := r.URL.Query()
next:
	for i := range s.routes {
		one := &s.routes[i]
		m := one.path.FindStringSubmatch(strings.TrimSuffix(r.URL.EscapedPath(), "/"))
		if m == nil || one.method != r.Method {
			continue
		}
		for k, v := range one.query {
			if !query.Has(k) || v != "" && query.Get(k) != v {
				continue next
			}
		}
		return one, m[1:]
	}
	return nil, nil
}

func (s *rest) operation(r *http.Request) string {
	if one, _ := s.find(r); one != nil {
		return one.name
	}
	return r.Method + " " + r.URL.Path
}

func (s *rest) serve(operation string, w http.ResponseWriter, r *http.Request) {
	one, values := s.find(r)
	if one == nil {
		s.codec.refuse(w, refuse("UnknownOperationException", "%s is not played", operation))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.before != nil {
		s.before()
	}
	out, no := one.do(func(input any) error {
		v := reflect.ValueOf(input).Elem()
		bind(v, r, one.fields, values)
		return s.codec.read(r, one.payload, v)
	})
	if no != nil {
		s.codec.refuse(w, no)
		return
	}
	s.codec.write(w, operation, reflect.ValueOf(out).Elem())
}

// bind puts what is in the path, the query and the headers into the input.
func bind(v reflect.Value, r *http.Request, fields, values []string) {
	set := func(name, value string) {
		f := v.FieldByName(name)
		if !f.IsValid() || value == "" {
			return
		}
		_ = setText(f, value) // one of the wrong kind is left out, as AWS' validation would have it
	}
	for i, name := range fields {
		if text, err := url.PathUnescape(values[i]); err == nil {
			set(name, text)
		}
	}
	for name := range r.URL.Query() {
		set(strings.ToUpper(name[:1])+name[1:], r.URL.Query().Get(name))
	}
	set("IfMatch", r.Header.Get("If-Match"))
}

// headers writes what an output has that is no body: ETag and Location. It
// returns the other fields.
func headers(w http.ResponseWriter, output reflect.Value) (body []reflect.StructField) {
	for i := range output.NumField() {
		f := output.Type().Field(i)
		switch {
		case !f.IsExported() || f.Name == "ResultMetadata":
		case (f.Name == "ETag" || f.Name == "Location") && f.Type.Kind() == reflect.Pointer:
			if s, _ := output.Field(i).Interface().(*string); s != nil {
				w.Header().Set(f.Name, *s)
			}
		default:
			body = append(body, f)
		}
	}
	return body
}
