package awstest

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
)

// Account and Region are where everything is.
const (
	Account = "123456789012"
	Region  = "eu-west-1"
)

// service plays one service of AWS.
type service interface {
	// operation names what a request asks for, "" if it is not played here.
	operation(r *http.Request) string
	serve(operation string, w http.ResponseWriter, r *http.Request)
}

// Server is an AWS.
type Server struct {
	URL string

	web      *httptest.Server
	services map[string]service
	moto     *httputil.ReverseProxy // nil: there is none

	pace pace

	mu    sync.Mutex
	uses  map[string]*Use // by "service.Operation"
	every int             // each such call is throttled; 0: none
	count int
}

// New returns an AWS that ends with the test. moto is where moto answers, or "".
func New(tb testing.TB, moto string) *Server {
	tb.Helper()
	s := &Server{uses: make(map[string]*Use), services: make(map[string]service)}
	if moto != "" {
		u, err := url.Parse(moto)
		if err != nil {
			tb.Fatal(err)
		}
		s.moto = &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
			p.SetURL(u)
			p.Out.Host = p.In.Host // moto tells buckets by it
		}}
	}
	s.web = httptest.NewServer(s)
	s.URL = s.web.URL
	tb.Cleanup(s.web.Close)
	return s
}

// Config returns how the SDK reaches this AWS.
func (s *Server) Config() awssdk.Config {
	return awssdk.Config{
		Region: Region, BaseEndpoint: awssdk.String(s.URL),
		Credentials: awssdk.CredentialsProviderFunc(func(context.Context) (awssdk.Credentials, error) {
			return awssdk.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "test"}, nil
		}),
		Retryer: func() awssdk.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.MaxAttempts = 8
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 2 * time.Millisecond, nil })
				o.RateLimiter = ratelimit.None
			})
		},
		HTTPClient: &http.Client{Transport: &http.Transport{
			MaxIdleConnsPerHost: 64,
			// Some services put a word before the host: it is this server all the same.
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, s.web.Listener.Addr().String())
			},
		}},
	}
}

// Throttle has each such call refused for being one too many; 0: none.
func (s *Server) Throttle(every int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.every = every
}

// Calls returns how often each operation was asked for; one of moto's that names
// none is called by its method.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make(map[string]int)
	for name, u := range s.uses {
		calls[name] = u.Calls + u.Throttled
	}
	return calls
}

// Uses returns how much there was of each operation since the last Forget.
func (s *Server) Uses() map[string]Use {
	s.mu.Lock()
	defer s.mu.Unlock()
	uses := make(map[string]Use)
	for name, u := range s.uses {
		uses[name] = *u
	}
	return uses
}

// Forget begins to count anew.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, u := range s.uses {
		s.uses[name] = &Use{now: u.now}
	}
}

var scope = regexp.MustCompile(`Credential=[^/]+/[0-9]{8}/(?:([a-z0-9-]*)/)?([a-z0-9-]+)/aws4_request`)

func signedFor(r *http.Request) string {
	m := scope.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return ""
	}
	return m[2]
}

// regionOf returns the region that a request was signed for, "" if for all.
func regionOf(r *http.Request) string {
	m := scope.FindStringSubmatch(r.Header.Get("Authorization"))
	if m == nil {
		return ""
	}
	return m[1]
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := signedFor(r)
	played, operation := s.services[name], ""
	if played != nil {
		operation = played.operation(r)
	}
	call := name + "." + operation
	if operation == "" {
		call = name + "." + motoCall(r)
	}
	took, ok := s.pace.admit(call)
	if !s.begin(call, ok, played != nil) {
		refuseThrottled(w, r, name)
		return
	}
	defer s.end(call)
	if took > 0 {
		time.Sleep(took)
	}
	switch {
	case operation != "":
		played.serve(operation, w, r)
	case s.moto != nil:
		s.moto.ServeHTTP(w, r)
	default:
		http.Error(w, "nobody plays "+name+" here", http.StatusNotImplemented)
	}
}

// motoCall names a call that moto answers: by its target, or else its method.
func motoCall(r *http.Request) string {
	if target := targetOf(r); target != "" {
		return target
	}
	return r.Method
}

// begin counts a call, and reports whether it is to be answered.
func (s *Server) begin(call string, ok, played bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	u := s.uses[call]
	if u == nil {
		u = new(Use)
		s.uses[call] = u
	}
	if !ok || played && s.every > 0 && s.count%s.every == 0 {
		u.Throttled++
		return false
	}
	u.Calls++
	u.now++
	u.Most = max(u.Most, u.now)
	return true
}

func (s *Server) end(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.uses[call].now--
}

// refuseThrottled answers a call that is one too many, as its service does.
func refuseThrottled(w http.ResponseWriter, r *http.Request, name string) {
	switch {
	case name == "servicediscovery":
		refuseJSON(w, "RequestLimitExceeded", "Rate exceeded")
	case name == "cloudfront-keyvaluestore" || name == "elasticfilesystem":
		jsonCodec{}.refuse(w, &refusal{"TooManyRequestsException", "Rate exceeded"})
	case targetOf(r) != "":
		refuseJSON(w, "ThrottlingException", "Rate exceeded")
	case name == "s3":
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, `<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>`)
	default:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`)
	}
}
