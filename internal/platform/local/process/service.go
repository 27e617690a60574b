package process

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"syscall"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
)

// Ports are a process's TCP (and UDP) ports on 127.0.0.1, by what they are for.
type Ports map[string]int

// Service is something to keep running.
type Service struct {
	Name  string   // unique in the Runner; lower-case letters, digits, '.', '-'
	Ports []string // what it needs ports for
	// Prepare returns what to run on the given ports. It is asked whenever a
	// process is to be started or adopted, so it may write configuration files;
	// it must give the same answer for the same ports as long as nothing changed.
	Prepare func(Ports) (Command, error)
	// Restarted, if set, is told after Supervise started the service anew, maybe
	// on other ports. Without it the service keeps its ports while supervised.
	Restarted func(Ports)
	// Signal asks the process to end. Zero means SIGTERM.
	Signal syscall.Signal
	// Grace is how long it has to, when it is replaced. Zero means ten seconds.
	Grace time.Duration
}

// Command is what to run.
type Command struct {
	Path  string        // of the executable, absolute
	Args  []string      // without the executable's name
	Env   []string      // the whole environment, but for the mark
	Dir   string        // working directory
	Owner durable.Owner // the user to run as; zero for the own one
	Group string        // directory of the control group (version 2) to start in; "" for the own one
	// Same is what a running process must have in common with this command to
	// be kept instead of replaced. Empty means all of the above.
	Same string
}

func (c Command) digest() string {
	var v any = c
	if c.Same != "" {
		v = c.Same
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers only
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Status says how a service is.
type Status struct {
	Name    string
	Running bool
	PID     int
	Since   time.Time
	Ports   Ports
	Started bool // by this call of Ensure, rather than found running
	Path    string
}

// record is what is known of a name, as stored.
type record struct {
	Name   string         `json:"name"`
	PID    int            `json:"pid,omitempty"`   // 0: about to be started, or stopped
	Start  uint64         `json:"start,omitempty"` // the kernel's start time of that pid
	Boot   string         `json:"boot,omitempty"`
	Since  time.Time      `json:"since,omitzero"`
	Digest string         `json:"digest,omitempty"`
	Argv   []string       `json:"argv,omitempty"`
	Ports  Ports          `json:"ports,omitempty"`
	Signal syscall.Signal `json:"signal,omitempty"`
}

func (r record) status() Status {
	s := Status{Name: r.Name, PID: r.PID, Since: r.Since, Ports: r.Ports}
	if len(r.Argv) > 0 {
		s.Path = r.Argv[0]
	}
	return s
}

func checkName(name string) error {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9.-]*$`).MatchString(name) {
		return fault.Errorf(fault.Invalid, "process name %q: want lower-case letters, digits, '.' and '-'", name)
	}
	return nil
}
