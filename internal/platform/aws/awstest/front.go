package awstest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	cftypes "github.com/aws/aws-sdk-go-v2/service/cloudfront/types"

	"github.com/gitopsd/gitopsd/infra/functions"
	"github.com/gitopsd/gitopsd/internal/edge"
)

// front plays CloudFront for viewers, over plain HTTP as if TLS had ended: it
// finds a request's distribution or tenant by its host, runs the two functions,
// and asks the origin of the behavior: the bucket, whose answers it keeps, or what
// stands behind the load balancer's name.
type front struct {
	cdn     *CloudFront
	store   string // ARN of the functions' key-value store
	origins map[string]string
	bucket  func(ctx context.Context, bucket, key, distribution string) (*http.Response, error)

	request, response *edge.Function

	mu   sync.Mutex
	kept map[string]*keptAnswer
}

// keptAnswer is what CloudFront has of a file.
type keptAnswer struct {
	status int
	header http.Header
	body   []byte
	from   time.Time
	until  time.Time
}

// serve starts the front, which ends with the test.
func (f *front) serve(tb testing.TB) (addr string) {
	tb.Helper()
	var err error
	f.request, err = edge.NewFunction("viewer-request.js", functions.ViewerRequest, func(key string) (string, bool) { return f.cdn.Value(f.store, key) })
	if err == nil {
		f.response, err = edge.NewFunction("viewer-response.js", functions.ViewerResponse, func(string) (string, bool) { return "", false })
	}
	if err != nil {
		tb.Fatalf("the CDN's functions: %v", err)
	}
	web := httptest.NewServer(f)
	tb.Cleanup(web.Close)
	return web.Listener.Addr().String()
}

// site is what CloudFront found for a host.
type site struct {
	config       *cftypes.DistributionConfig
	distribution string            // ARN
	owner        string            // whose invalidations count: of the distribution or its tenant
	parameters   map[string]string // of the tenant
}

// site returns what serves a host: a tenant or a distribution that names it, or
// one that has a wildcard for it. Disabled ones serve nothing.
func (c *CloudFront) site(host string) *site {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tenants {
		for _, r := range t.Domains {
			d := c.distributions[*t.DistributionId]
			if *r.Domain != host || !*t.Enabled || d == nil || !*d.DistributionConfig.Enabled {
				continue
			}
			s := &site{config: d.DistributionConfig, distribution: *d.ARN, owner: *t.Id, parameters: make(map[string]string)}
			for _, p := range t.Parameters {
				s.parameters[*p.Name] = *p.Value
			}
			return s
		}
	}
	var wild *site
	for _, d := range c.distributions {
		if d.DistributionConfig.Aliases == nil || !*d.DistributionConfig.Enabled {
			continue
		}
		for _, a := range d.DistributionConfig.Aliases.Items {
			s := &site{config: d.DistributionConfig, distribution: *d.ARN, owner: *d.Id}
			if a == host {
				return s
			}
			if covers(a, host) {
				wild = s
			}
		}
	}
	return wild
}

// origin returns the origin of the behavior that a path has.
func (s *site) origin(p string) cftypes.Origin {
	id := *s.config.DefaultCacheBehavior.TargetOriginId
	if b := s.config.CacheBehaviors; b != nil {
		for _, one := range b.Items {
			if matched(*one.PathPattern, p) {
				id = *one.TargetOriginId
				break
			}
		}
	}
	for _, o := range s.config.Origins.Items {
		if *o.Id == id {
			return o
		}
	}
	return cftypes.Origin{}
}

// matched reports whether a path has a pattern, whose '*' is any characters.
func matched(pattern, p string) bool {
	head, tail, star := strings.Cut(strings.TrimPrefix(pattern, "/"), "*")
	p = strings.TrimPrefix(p, "/")
	if !star {
		return p == head
	}
	return strings.HasPrefix(p, head) && strings.HasSuffix(p[len(head):], tail)
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	host := strings.ToLower(r.Host)
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	s := f.cdn.site(host)
	if s == nil {
		http.Error(w, "403 ERROR: The request could not be satisfied.", http.StatusForbidden)
		return
	}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Edge-") || strings.HasPrefix(name, "X-Amz-Cf-") {
			r.Header.Del(name)
		}
	}
	out, err := f.request.Call(viewerEvent(r))
	switch {
	case err != nil:
		http.Error(w, "503 ERROR: The CloudFront function failed: "+err.Error(), http.StatusServiceUnavailable)
		return
	case out.Answer != nil:
		for _, h := range out.Answer.Headers {
			w.Header()[h.Name] = h.Values
		}
		w.WriteHeader(out.Answer.StatusCode)
		_, _ = io.WriteString(w, out.Answer.Body)
		return
	}
	change(r.Header, out)
	if o := s.origin(r.URL.Path); o.OriginAccessControlId != nil {
		f.static(w, r, s, o)
	} else {
		f.app(w, r, o)
	}
}

func change(h http.Header, out *edge.Outcome) {
	for _, name := range out.Delete {
		h.Del(name)
	}
	for _, c := range out.Set {
		h[c.Name] = c.Values
	}
}

// viewerEvent is the event of a function, made from the guide's description.
func viewerEvent(r *http.Request) *edge.Event {
	ip, _, _ := net.SplitHostPort(r.RemoteAddr)
	ev := &edge.Event{
		Version: "1.0", Context: edge.EventContext{EventType: "viewer-request"}, Viewer: edge.EventViewer{IP: ip},
		Request: edge.EventRequest{
			Method: r.Method, URI: r.URL.EscapedPath(), Headers: make(map[string]edge.Values),
			Querystring: make(map[string]edge.Values), Cookies: make(map[string]edge.Values),
		},
	}
	for name, values := range r.Header {
		switch name {
		case "Cookie", "Connection", "Expect", "Keep-Alive", "Trailer", "Upgrade", "X-Forwarded-Proto", "X-Real-Ip":
		default:
			ev.Request.Headers[strings.ToLower(name)] = eventValues(values)
		}
	}
	ev.Request.Headers["host"] = edge.Values{Value: r.Host}
	for name, values := range r.URL.Query() {
		ev.Request.Querystring[name] = eventValues(values)
	}
	for _, c := range r.Cookies() {
		ev.Request.Cookies[c.Name] = edge.Values{Value: c.Value}
	}
	return ev
}

func eventValues(values []string) edge.Values {
	v := edge.Values{Value: values[0]}
	if len(values) > 1 {
		for _, one := range values {
			v.MultiValue = append(v.MultiValue, edge.Value{Value: one})
		}
	}
	return v
}

// finish runs the viewer-response function, which sees no answer of 400 and
// above, and adds what the headers policy has.
func (f *front) finish(r *http.Request, status int, h http.Header) error {
	if status < http.StatusBadRequest {
		ev := viewerEvent(r)
		ev.Context.EventType = "viewer-response"
		ev.Response = &edge.EventResponse{
			StatusCode: status, StatusDescription: http.StatusText(status), Headers: make(map[string]edge.Values), Cookies: make(map[string]edge.Values),
		}
		for name, values := range h {
			if name != "Set-Cookie" && len(values) > 0 {
				ev.Response.Headers[strings.ToLower(name)] = eventValues(values)
			}
		}
		out, err := f.response.Call(ev)
		if err != nil {
			return err
		}
		change(h, out)
	}
	h.Del("Server")
	h.Del("X-Powered-By")
	h.Set("Via", "1.1 played (CloudFront)")
	return nil
}

// app asks what stands behind the load balancer, with the origin's own headers.
func (f *front) app(w http.ResponseWriter, r *http.Request, o cftypes.Origin) {
	at := f.origins[awssdk.ToString(o.DomainName)]
	if at == "" {
		http.Error(w, "502 ERROR: CloudFront wasn't able to resolve the origin domain name.", http.StatusBadGateway)
		return
	}
	proxy := httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(&url.URL{Scheme: "http", Host: at})
			p.Out.Host = p.In.Host // the policy AllViewer passes it on
			p.SetXForwarded()
			if o.CustomHeaders != nil {
				for _, h := range o.CustomHeaders.Items {
					p.Out.Header.Set(*h.HeaderName, *h.HeaderValue)
				}
			}
		},
		ModifyResponse: func(res *http.Response) error { return f.finish(r, res.StatusCode, res.Header) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if !errors.Is(err, context.Canceled) {
				http.Error(w, "502 ERROR: "+err.Error(), http.StatusBadGateway)
			}
		},
	}
	proxy.ServeHTTP(w, r)
}

// static answers with a file of the bucket, as it was kept or as it is.
func (f *front) static(w http.ResponseWriter, r *http.Request, s *site, o cftypes.Origin) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "403 ERROR: This distribution is not configured to allow the HTTP request method.", http.StatusForbidden)
		return
	}
	answer, hit, err := f.file(r, s, o)
	if err != nil {
		http.Error(w, "502 ERROR: "+err.Error(), http.StatusBadGateway)
		return
	}
	h := w.Header()
	for name, values := range answer.header {
		h[name] = values
	}
	h.Set("X-Cache", "Miss from cloudfront")
	if hit {
		h.Set("X-Cache", "Hit from cloudfront")
	}
	if err := f.finish(r, answer.status, h); err != nil {
		http.Error(w, "503 ERROR: "+err.Error(), http.StatusServiceUnavailable)
		return
	}
	if tag := h.Get("Etag"); tag != "" && r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.WriteHeader(answer.status)
	if r.Method == http.MethodGet {
		_, _ = w.Write(answer.body)
	}
}

// file returns an asset, and whether it was kept. Source of the times: "Managed
// cache policies", CachingOptimized: 1 s at least, a day unless it is said, a year at most.
func (f *front) file(r *http.Request, s *site, o cftypes.Origin) (*keptAnswer, bool, error) {
	key := s.owner + " " + r.URL.Path
	f.mu.Lock()
	kept := f.kept[key]
	f.mu.Unlock()
	if kept != nil && time.Now().Before(kept.until) && !f.cdn.invalid(s.owner, r.URL.Path, kept.from) {
		return kept, true, nil
	}
	domain := *o.DomainName
	for name, value := range s.parameters {
		domain = strings.ReplaceAll(domain, "{{"+name+"}}", value)
	}
	bucket, _, _ := strings.Cut(domain, ".")
	begin := time.Now()
	res, err := f.bucket(r.Context(), bucket, strings.TrimPrefix(awssdk.ToString(o.OriginPath)+r.URL.Path, "/"), s.distribution)
	if err != nil {
		return nil, false, err
	}
	defer res.Body.Close()
	var body bytes.Buffer
	if _, err := io.Copy(&body, res.Body); err != nil {
		return nil, false, err
	}
	answer := &keptAnswer{status: res.StatusCode, header: res.Header, body: body.Bytes(), from: begin, until: begin.Add(lifetime(res))}
	f.mu.Lock()
	f.kept[key] = answer
	f.mu.Unlock()
	return answer, false, nil
}

func lifetime(res *http.Response) time.Duration {
	if res.StatusCode >= http.StatusBadRequest {
		return 10 * time.Second // errors are kept for so long. Source: "ErrorCachingMinTTL"
	}
	control := res.Header.Get("Cache-Control")
	for _, part := range strings.Split(control, ",") {
		if seconds, ok := strings.CutPrefix(strings.TrimSpace(part), "max-age="); ok {
			if n, err := strconv.Atoi(seconds); err == nil {
				return min(max(time.Duration(n)*time.Second, time.Second), 365*24*time.Hour)
			}
		}
	}
	if strings.Contains(control, "no-cache") || strings.Contains(control, "no-store") {
		return time.Second
	}
	return 24 * time.Hour
}

// invalid reports whether a path was invalidated since.
func (c *CloudFront) invalid(owner, p string, since time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.invalidations {
		if i.owner != owner || i.done.Before(since) || time.Now().Before(i.done) {
			continue
		}
		for _, pattern := range i.InvalidationBatch.Paths.Items {
			if matched(pattern, p) {
				return true
			}
		}
	}
	return false
}
