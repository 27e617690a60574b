package edge

import (
	"net"
	"net/http"
	"net/url"
	"sort"
	"strings"
)

// Event is what a CDN function is called with.
// Source: "CloudFront Functions event structure", version 1.0.
type Event struct {
	Version  string         `json:"version"`
	Context  EventContext   `json:"context"`
	Viewer   EventViewer    `json:"viewer"`
	Request  EventRequest   `json:"request"`
	Response *EventResponse `json:"response,omitempty"` // of a viewer-response event
}

// EventContext is an event's context.
type EventContext struct {
	DistributionDomainName string `json:"distributionDomainName"`
	DistributionID         string `json:"distributionId"`
	EventType              string `json:"eventType"` // viewer-request or viewer-response
	RequestID              string `json:"requestId"`
}

// EventViewer is who sent the request.
type EventViewer struct {
	IP string `json:"ip"`
}

// EventRequest is an event's request.
type EventRequest struct {
	Method      string            `json:"method"`
	URI         string            `json:"uri"`
	Querystring map[string]Values `json:"querystring"`
	Headers     map[string]Values `json:"headers"` // lower-case names
	Cookies     map[string]Values `json:"cookies"`
}

// EventResponse is an event's response.
type EventResponse struct {
	StatusCode        int               `json:"statusCode"`
	StatusDescription string            `json:"statusDescription"`
	Headers           map[string]Values `json:"headers"`
	Cookies           map[string]Values `json:"cookies"`
}

// Value is one value of a header, cookie or query parameter.
type Value struct {
	Value string `json:"value"`
}

// Values is a value and, if there are several, all of them.
type Values struct {
	Value      string  `json:"value"`
	MultiValue []Value `json:"multiValue,omitempty"`
}

func valuesOf(vs []string) Values {
	v := Values{Value: vs[0]}
	if len(vs) > 1 {
		for _, s := range vs {
			v.MultiValue = append(v.MultiValue, Value{s})
		}
	}
	return v
}

func (v Values) strings() []string {
	if len(v.MultiValue) == 0 {
		return []string{v.Value}
	}
	out := make([]string, 0, len(v.MultiValue))
	for _, m := range v.MultiValue {
		out = append(out, m.Value)
	}
	return out
}

// hidden reports whether CloudFront keeps a header (canonical form) from its
// functions. Source: "Restrictions on all edge functions", disallowed headers;
// cookies are a part of their own.
func hidden(name string) bool {
	switch name {
	case "Connection", "Expect", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
		"Trailer", "Upgrade", "X-Cache", "X-Forwarded-Proto", "X-Real-Ip", "Cookie", "Set-Cookie":
		return true
	}
	return strings.HasPrefix(name, "X-") &&
		(strings.HasPrefix(name, "X-Edge-") || strings.HasPrefix(name, "X-Amz-Cf-") ||
			strings.HasPrefix(name, "X-Amzn-") || strings.HasPrefix(name, "X-Accel-"))
}

// exposed returns the headers a function sees.
func exposed(h http.Header) map[string]Values {
	out := make(map[string]Values, len(h)+1)
	for name, vs := range h {
		if len(vs) > 0 && !hidden(name) {
			out[strings.ToLower(name)] = valuesOf(vs)
		}
	}
	return out
}

// requestEvent returns the viewer-request event of r.
func requestEvent(r *http.Request) *Event {
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		ip = r.RemoteAddr
	}
	ev := &Event{
		Version: "1.0",
		Context: EventContext{EventType: "viewer-request"},
		Viewer:  EventViewer{IP: ip},
		Request: EventRequest{
			Method: r.Method, URI: r.URL.EscapedPath(), Querystring: queryOf(r.URL.RawQuery),
			Headers: exposed(r.Header), Cookies: map[string]Values{},
		},
	}
	if r.Host != "" {
		ev.Request.Headers["host"] = Values{Value: r.Host}
	}
	for _, c := range r.Cookies() {
		addValue(ev.Request.Cookies, c.Name, c.Value)
	}
	return ev
}

// responseEvent returns the viewer-response event of a response to r.
func responseEvent(r *http.Request, status int, h http.Header) *Event {
	ev := requestEvent(r)
	ev.Context.EventType = "viewer-response"
	ev.Response = &EventResponse{
		StatusCode: status, StatusDescription: http.StatusText(status),
		Headers: exposed(h), Cookies: map[string]Values{},
	}
	for _, c := range (&http.Response{Header: h}).Cookies() {
		addValue(ev.Response.Cookies, c.Name, c.Value)
	}
	return ev
}

func queryOf(raw string) map[string]Values {
	out := map[string]Values{}
	for _, pair := range strings.Split(raw, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=") // as sent: CloudFront decodes neither
		addValue(out, name, value)
	}
	return out
}

func addValue(m map[string]Values, name, value string) {
	v, ok := m[name]
	switch {
	case !ok:
		m[name] = Values{Value: value}
		return
	case len(v.MultiValue) == 0:
		v.MultiValue = []Value{{v.Value}}
	}
	v.MultiValue = append(v.MultiValue, Value{value})
	m[name] = v
}

// Outcome is what a function made of an event: changed headers, or, from a
// viewer-request function, an answer instead of a request.
type Outcome struct {
	Set    []HeaderChange // in order of the name
	Delete []string       // canonical names, in order
	Answer *Answer
}

// HeaderChange is a header and its new values.
type HeaderChange struct {
	Name   string // canonical
	Values []string
}

// Answer is a response a function makes by itself.
type Answer struct {
	StatusCode int
	Headers    []HeaderChange // in order of the name
	Body       string
}

// apply makes the outcome's changes in h. The values are shared between
// requests: they are replaced, never changed in place.
func (o *Outcome) apply(h http.Header) {
	for _, name := range o.Delete {
		delete(h, name)
	}
	for _, c := range o.Set {
		h[c.Name] = c.Values
	}
}

func changesOf(m map[string]Values) []HeaderChange {
	out := make([]HeaderChange, 0, len(m))
	for name, v := range m {
		out = append(out, HeaderChange{http.CanonicalHeaderKey(name), v.strings()})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// rawPathHasSlash reports whether an encoded slash hides in the path: a name
// with one is not the path it decodes to.
func rawPathHasSlash(u *url.URL) bool {
	return u.RawPath != "" && strings.Contains(strings.ToLower(u.RawPath), "%2f")
}
