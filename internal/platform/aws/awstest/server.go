package awstest

import (
	"context"
	"fmt"
	"maps"
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

	mu    sync.Mutex
	calls map[string]int // by "service.Operation"
	every int            // each such call is throttled; 0: none
	count int
}

// New returns an AWS that ends with the test. moto is where moto answers, or "".
func New(tb testing.TB, moto string) *Server {
	tb.Helper()
	s := &Server{calls: make(map[string]int), services: make(map[string]service)}
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

// Calls returns how often each operation that is played here was asked for, and
// each service of moto's.
func (s *Server) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
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
	if s.counted(name, operation) && played != nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate exceeded</Message></Error></ErrorResponse>`)
		return
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

func (s *Server) counted(name, operation string) (throttled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count++
	throttled = s.every > 0 && s.count%s.every == 0
	if operation == "" {
		operation = "(moto)"
	}
	s.calls[name+"."+operation]++
	return throttled
}
