package process

import (
	"fmt"
	"math/rand/v2"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Ports come from below the range that kernels take outgoing connections'
// ports from (Linux 32768–60999, darwin 49152–65535), so that no connection
// sits on a port while its owner restarts.
const (
	firstPort = 20000
	lastPort  = 31999
)

// choosePorts returns ports for the given uses: those of the record where they
// are still to be had, else others.
func (r *Runner) choosePorts(name string, uses []string, kept Ports) (Ports, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	ports := make(Ports, len(uses))
	for _, use := range uses {
		if p := kept[use]; p != 0 && (r.reserved[p] == "" || r.reserved[p] == name) && free(p) {
			ports[use] = p
			r.reserved[p] = name
			continue
		}
		p, err := r.freshPort()
		if err != nil {
			return nil, err
		}
		ports[use] = p
		r.reserved[p] = name
	}
	for _, p := range kept { // what was given up
		if r.reserved[p] == name && !ports.has(p) {
			delete(r.reserved, p)
		}
	}
	return ports, nil
}

func (p Ports) has(port int) bool {
	for _, q := range p {
		if q == port {
			return true
		}
	}
	return false
}

// free reports whether all of them can be listened on.
func (p Ports) free() bool {
	for _, port := range p {
		if !free(port) {
			return false
		}
	}
	return true
}

// complete reports whether every use has a port.
func (p Ports) complete(uses []string) bool {
	for _, use := range uses {
		if p[use] == 0 {
			return false
		}
	}
	return true
}

func (r *Runner) freshPort() (int, error) {
	for range 2000 {
		p := firstPort + rand.IntN(lastPort-firstPort+1)
		if r.reserved[p] == "" && free(p) {
			return p, nil
		}
	}
	return 0, fault.Errorf(fault.Transient, "no free port on 127.0.0.1 between %d and %d", firstPort, lastPort)
}

// Addr returns the address of a use, "127.0.0.1:port".
func (p Ports) Addr(use string) string { return fmt.Sprintf("127.0.0.1:%d", p[use]) }
