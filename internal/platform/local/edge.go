package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"slices"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
	"github.com/gitopsd/gitopsd/internal/platform/local/dns"
	"github.com/gitopsd/gitopsd/internal/platform/local/process"
)

// edgeConfig is what the edge's process is started with; the edge's own type
// of the same JSON shape reads it.
type edgeConfig struct {
	Addr      string     `json:"addr"`
	Admin     string     `json:"admin"`
	DNS       string     `json:"dns"`
	Domain    string     `json:"domain"`
	Routes    string     `json:"routes"`
	KeyFile   string     `json:"keyFile"`
	AccessLog string     `json:"accessLog"`
	Limits    EdgeLimits `json:"limits,omitzero"`
	TLS       *edgeTLS   `json:"tls,omitempty"`
}

// EdgeLimits bound what one tenant takes of the edge; 0: as the edge has it.
type EdgeLimits struct {
	Rate       float64 `json:"rate,omitempty"` // requests a second
	Burst      int     `json:"burst,omitempty"`
	Concurrent int     `json:"concurrent,omitempty"`
	Body       int64   `json:"body,omitempty"` // bytes
}

// EdgeTLS has the edge serve by TLS as well.
type EdgeTLS struct {
	Addr     string `json:"addr"`         // host:port
	CA       string `json:"ca,omitempty"` // directory URL of an ACME server; none: an authority of the edge's own
	Email    string `json:"email,omitempty"`
	Roots    string `json:"roots,omitempty"` // PEM file of whom to trust as that server
	Redirect bool   `json:"redirect,omitempty"`
}

type edgeTLS struct {
	EdgeTLS
	Store string `json:"store"`
}

// route is one tenant's file for the edge.
type route struct {
	Tenant  string   `json:"tenant"`
	Hosts   []string `json:"hosts"`
	SRV     string   `json:"srv"`
	Bucket  string   `json:"bucket"`
	Static  string   `json:"static"`
	EdgeKey string   `json:"edgeKey"`
	Serial  uint64   `json:"serial"`
	State   string   `json:"state,omitempty"`
}

// States of a route that leads nowhere.
const (
	stopped = "stopped" // the hosts answer 503: the tenant comes back
	gone    = "gone"    // the hosts answer 410
)

// systemPath is the PATH of servers.
const systemPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func (d *Driver) startEdge(ctx context.Context) error {
	_, err := d.runner.Ensure(ctx, process.Service{
		Name: "edge", Ports: []string{"admin"}, Grace: 30 * time.Second,
		Prepare: func(ports process.Ports) (process.Command, error) {
			if !d.runner.Status("edge").Running {
				if err := d.checkEdgeAddr(); err != nil {
					return process.Command{}, err
				}
			}
			config := edgeConfig{
				Addr: d.c.EdgeAddr, Admin: ports.Addr("admin"), DNS: d.dnsAddr(), Domain: d.c.Domain,
				Routes: d.path("edge", "routes"), KeyFile: d.path("secrets", "edge.key"),
				AccessLog: d.path("logs", "access.log"), Limits: d.c.EdgeLimits,
			}
			if t := d.c.EdgeTLS; t != nil {
				config.TLS = &edgeTLS{*t, d.path("edge", "tls")}
			}
			same, err := json.Marshal(config)
			if err != nil {
				return process.Command{}, err
			}
			path := d.path("edge", "edge.json")
			if _, err := durable.UpdateJSON(path, config, 0o600, durable.Owner{}); err != nil {
				return process.Command{}, err
			}
			home := d.path("edge")
			return process.Command{
				Path: d.self, Args: []string{"edge", "--config", path}, Dir: home,
				Env:  []string{systemPath, "HOME=" + home, "XDG_DATA_HOME=" + home, "XDG_CONFIG_HOME=" + home},
				Same: fmt.Sprintf("%s\n%s", d.self, same),
			}, nil
		},
	})
	if err != nil {
		return err
	}
	for _, addr := range d.edgeAddrs() {
		if err := d.awaitPort(ctx, "edge", addr); err != nil {
			return err
		}
	}
	return nil
}

// edgeAddrs returns where the edge listens for viewers.
func (d *Driver) edgeAddrs() []string {
	addrs := []string{d.c.EdgeAddr}
	if d.c.EdgeTLS != nil {
		addrs = append(addrs, d.c.EdgeTLS.Addr)
	}
	return addrs
}

// checkEdgeAddr fails if somebody listens where the edge is to.
func (d *Driver) checkEdgeAddr() error {
	for i, addr := range d.edgeAddrs() {
		flag := []string{"--edge-addr", "--edge-tls-addr"}[i]
		err := process.Probe(addr)
		if err == nil {
			continue
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return fault.Errorf(fault.Invalid, "the edge cannot listen on %s: %w", addr, err).
				WithHint("choose another address with %s", flag)
		}
		by := "another process"
		if _, port, err := net.SplitHostPort(addr); err == nil {
			if pid, command := process.Listener(port); pid != 0 {
				by = fmt.Sprintf("process %d (%s)", pid, command)
			}
		}
		return fault.Errorf(fault.Invalid, "the edge's address %s is in use by %s", addr, by).
			WithHint("stop it, or choose another address with %s", flag)
	}
	return nil
}

// awaitPort waits until a process that was started accepts connections.
func (d *Driver) awaitPort(ctx context.Context, name, addr string) error {
	return d.awaitProcess(ctx, name, func(ctx context.Context) error {
		var dialer net.Dialer
		conn, err := dialer.DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// awaitProcess waits until a process answers, for a while, and as long as it lives.
func (d *Driver) awaitProcess(ctx context.Context, name string, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for wait := 2 * time.Millisecond; ; wait = min(wait*3/2, 50*time.Millisecond) {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		if err := d.runner.Ended(name); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fault.Errorf(fault.Stalled, "%s does not answer: %w", name, err).WithDetail(d.runner.Tail(name))
		case <-time.After(wait):
		}
	}
}

// writeRoute has the tenant's route at the edge as the state says. With renew
// the edge is to look at the tenant's instances at once.
func (d *Driver) writeRoute(st *state, renew bool) error {
	want := route{
		Tenant: st.Tenant, Hosts: st.Config.Hosts, SRV: dns.Name(st.Tenant), Bucket: d.bucket(st.Tenant),
		Static: st.Static, EdgeKey: d.keys.derive("edge", st.Tenant), Serial: st.Serial,
	}
	var have route
	there, err := durable.ReadJSON(d.routeFile(st.Tenant), &have)
	if err == nil && there && !renew && reflect.DeepEqual(have, want) {
		return nil
	}
	st.Serial = max(st.Serial, have.Serial) + 1
	if err := d.save(st); err != nil { // first: a number is not given twice
		return err
	}
	want.Serial = st.Serial
	return durable.WriteJSON(d.routeFile(st.Tenant), want, 0o600, durable.Owner{})
}

// routeState is what the edge says it does with a route; the edge's own type
// of the same JSON shape is the source.
type routeState struct {
	Serial    uint64   `json:"serial"`
	Instances []string `json:"instances"`
	State     string   `json:"state"`
}

// awaitRoute waits until the edge has the tenant's route as it was written, and
// these instances.
func (d *Driver) awaitRoute(ctx context.Context, st *state, instances []dns.Instance) error {
	var want []string
	for _, i := range instances {
		want = append(want, fmt.Sprintf("%s:%d", i.Addr, i.Port))
	}
	slices.Sort(want)
	return d.awaitEdge(ctx, st.Tenant, func(status int, have routeState) bool {
		slices.Sort(have.Instances)
		return status == http.StatusOK && have.Serial >= st.Serial && slices.Equal(have.Instances, want)
	})
}

// awaitEdge waits until the edge's answer about a tenant is as wanted.
func (d *Driver) awaitEdge(ctx context.Context, tenant string, want func(status int, s routeState) bool) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for wait := 2 * time.Millisecond; ; wait = min(wait*3/2, 50*time.Millisecond) {
		admin := d.runner.Status("edge").Ports.Addr("admin")
		status, body, err := ask(ctx, http.MethodGet, "http://"+admin+"/routes/"+tenant, "")
		var s routeState
		if err == nil && json.Unmarshal(body, &s) == nil && want(status, s) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.Errorf(fault.Transient, "the edge does not follow the route of %s (status %d: %.200s): %w",
				tenant, status, body, errors.Join(err, ctx.Err()))
		case <-time.After(wait):
		}
	}
}

// RemoveRoute implements platform.Platform. It returns when DNS does not know
// the tenant any more, and the edge no instance of it.
func (d *Driver) RemoveRoute(ctx context.Context, tenant string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.unroute(ctx, tenant, stopped); err != nil {
		return fmt.Errorf("remove route of %s: %w", tenant, err)
	}
	return nil
}

// Entomb implements platform.Platform.
func (d *Driver) Entomb(ctx context.Context, tenant string) error {
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	if err := d.unroute(ctx, tenant, gone); err != nil {
		return fmt.Errorf("say that %s is gone: %w", tenant, err)
	}
	return nil
}

// unroute takes the tenant out of traffic and DNS. Its hosts answer as the notice
// says, and those of a tenant that is not known nothing at all. One that is said
// to be gone does not become one that comes back.
func (d *Driver) unroute(ctx context.Context, tenant, notice string) error {
	st, err := d.load(tenant)
	if err != nil {
		return err
	}
	var have route
	there, err := durable.ReadJSON(d.routeFile(tenant), &have)
	switch {
	case st == nil:
		err = durable.Remove(d.routeFile(tenant))
	case err == nil && there && (have.State == notice || have.State == gone):
	default:
		err = durable.WriteJSON(d.routeFile(tenant), route{
			Tenant: tenant, Hosts: st.Config.Hosts, Serial: max(st.Serial, have.Serial), State: notice,
		}, 0o600, durable.Owner{})
	}
	if err != nil {
		return err
	}
	if err := dns.Remove(d.path("dns"), tenant); err != nil {
		return err
	}
	if err := d.awaitNames(ctx, tenant, nil); err != nil {
		return err
	}
	return d.awaitEdge(ctx, tenant, func(status int, s routeState) bool {
		return status == http.StatusNotFound || st != nil && (s.State == notice || s.State == gone)
	})
}

// removeNotice has the edge know nothing more of a tenant that is out of traffic.
func (d *Driver) removeNotice(ctx context.Context, tenant string) error {
	if err := durable.Remove(d.routeFile(tenant)); err != nil {
		return err
	}
	return d.awaitEdge(ctx, tenant, func(status int, _ routeState) bool { return status == http.StatusNotFound })
}

// hasRoute reports whether the edge leads to the tenant, or will.
func (d *Driver) hasRoute(ctx context.Context, tenant string) (bool, error) {
	var have route
	if there, err := durable.ReadJSON(d.routeFile(tenant), &have); err != nil || there {
		return there && have.State == "", err
	}
	state, err := d.atEdge(ctx, tenant)
	return state != nil && state.State == "", err
}

// hasNotice reports whether the edge says of the tenant that it is stopped or
// gone, or will.
func (d *Driver) hasNotice(ctx context.Context, tenant string) (bool, error) {
	var have route
	if there, err := durable.ReadJSON(d.routeFile(tenant), &have); err != nil || there {
		return there && have.State != "", err
	}
	state, err := d.atEdge(ctx, tenant)
	return state != nil && state.State != "", err
}

// atEdge asks the edge for its route of the tenant; nil: it has none.
func (d *Driver) atEdge(ctx context.Context, tenant string) (*routeState, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	admin := d.runner.Status("edge").Ports.Addr("admin")
	status, body, err := ask(ctx, http.MethodGet, "http://"+admin+"/routes/"+tenant, "")
	var s routeState
	switch {
	case err != nil:
		return nil, fault.Errorf(fault.Transient, "ask the edge for %s: %w", tenant, err)
	case status == http.StatusNotFound:
		return nil, nil
	case status != http.StatusOK, json.Unmarshal(body, &s) != nil:
		return nil, fault.Errorf(fault.Transient, "ask the edge for %s: status %d: %.200s", tenant, status, body)
	}
	return &s, nil
}
