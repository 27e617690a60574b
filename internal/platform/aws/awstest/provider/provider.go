package provider

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
)

// Config says what is behind the provider. Without an AWS all is in the registry.
type Config struct {
	AWS awssdk.Config
	// Services are the modules of tokens that are made in AWS, such as "s3".
	Services []string
	Account  string
	Region   string
	// Latency is how long each create, update and delete takes at least.
	Latency time.Duration
	// Poll is between two looks at what takes AWS long; 0: 20 ms.
	Poll time.Duration
}

// Provider is a provider that listens until its test ends.
type Provider struct {
	pulumirpc.UnimplementedResourceProviderServer
	c       Config
	clients clients
	port    int

	calls sync.WaitGroup // under way

	mu      sync.Mutex
	next    int // a number that is given once
	live    map[string]*Resource
	journal []Event
	holds   []*Hold
	faults  []*Fault
}

// Resource is one that is there.
type Resource struct {
	Token, Key, ID, URN string
	Inputs, Outputs     Properties
}

// Properties are a resource's inputs or outputs, as JSON has them.
type Properties = map[string]any

// Start returns a provider that listens on a port of its own.
func Start(tb testing.TB, c Config) *Provider {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &Provider{c: c, clients: newClients(c.AWS, c.Poll), port: l.Addr().(*net.TCPAddr).Port, live: make(map[string]*Resource)}
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.UnaryInterceptor(p.counted))
	pulumirpc.RegisterResourceProviderServer(server, p)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // ends with Stop
	}()
	tb.Cleanup(func() {
		p.releaseAll()
		server.Stop()
		<-done
	})
	return p
}

// counted has Quiet know of a call.
func (p *Provider) counted(ctx context.Context, in any, _ *grpc.UnaryServerInfo, call grpc.UnaryHandler) (any, error) {
	p.calls.Add(1)
	defer p.calls.Done()
	return call(ctx, in)
}

// Env is what has the engine use this provider, and fetch no other.
func (p *Provider) Env() map[string]string {
	return map[string]string{
		"PULUMI_DEBUG_PROVIDERS":                      "aws:" + strconv.Itoa(p.port),
		"PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
	}
}

// Live returns what is there, by token.
func (p *Provider) Live() map[string][]Resource {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make(map[string][]Resource)
	for _, r := range p.live {
		out[r.Token] = append(out[r.Token], *r)
	}
	return out
}

// ImportID returns what a resource is imported by.
func (p *Provider) ImportID(r Resource) string { return p.importID(&r) }

// Vanish removes a resource as somebody at the console would. Only what is in the
// registry alone can: elsewhere the played AWS is asked.
func (p *Provider) Vanish(token, id string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, r := range p.live {
		if r.Token == token && r.ID == id {
			delete(p.live, key)
			p.journal = append(p.journal, Event{Op: Vanished, Token: token, ID: id, URN: r.URN})
			return nil
		}
	}
	return fmt.Errorf("%s %s is not there", token, id)
}

// Alter changes a resource's properties as somebody at the console would.
func (p *Provider) Alter(token, id string, change func(Properties)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.live {
		if r.Token == token && r.ID == id {
			change(r.Inputs)
			change(r.Outputs)
			return nil
		}
	}
	return fmt.Errorf("%s %s is not there", token, id)
}
