package agent

import (
	"sync"
	"time"
)

// Phases of a Report.
const (
	Waiting  = "waiting"  // nothing was ever published
	Starting = "starting" // a first release is on its way to healthy
	Serving  = "serving"
	Asleep   = "asleep"  // stopped for want of requests; the next one starts it
	Failing  = "failing" // nothing serves, because what should failed
)

// Report is what an agent says of its app at /-/app.
type Report struct {
	Phase       string    `json:"phase"`
	Release     string    `json:"release,omitempty"` // serving, or asleep after it did
	Seq         uint64    `json:"seq,omitempty"`     // pointer that release came from
	Commit      string    `json:"commit,omitempty"`
	Since       time.Time `json:"since,omitzero"` // the serving release took traffic
	InFlight    int64     `json:"inFlight"`
	Restarts    int       `json:"restarts"`              // of crashed apps, since the agent started
	Wakes       int       `json:"wakes,omitempty"`       // of sleeping ones
	Memory      int64     `json:"memory,omitempty"`      // resident, of the serving app's first process; bytes
	CPUSeconds  float64   `json:"cpuSeconds,omitempty"`  // used by it, and by children it waited for
	FailedSeq   uint64    `json:"failedSeq,omitempty"`   // last pointer that did not get healthy
	Failed      string    `json:"failed,omitempty"`      // its release
	Failure     string    `json:"failure,omitempty"`     // why, in one line; also of a crash
	FailureTail []string  `json:"failureTail,omitempty"` // the app's last lines, at most 20
	Health      string    `json:"health"`                // of runtime and app, in one line
}

// nothingServes takes back what is said of the release that served.
func (r *Report) nothingServes() {
	r.Phase, r.Release, r.Seq, r.Commit, r.Since = Failing, "", 0, "", time.Time{}
}

// health says how runtime and app are. Whoever can ask has a healthy runtime:
// what fails then is the app.
func (r Report) health() string {
	s := "runtime healthy, app " + r.Phase
	switch r.Phase {
	case Failing:
		return s + ": " + r.Failure
	case Waiting:
		return s + " for a first release"
	}
	return s
}

// settled reports whether the pointer with this number, or a later one, came
// to an end: it serves, or it failed.
func (r Report) settled(seq uint64) bool { return r.Seq >= seq || r.FailedSeq >= seq }

// board holds the report for those who read it and those who wait for it.
type board struct {
	mu      sync.Mutex
	report  Report
	pid     int           // of the app that serves; 0 for none
	changed chan struct{} // closed by the next change
}

func newBoard() *board {
	return &board{report: Report{Phase: Waiting}, changed: make(chan struct{})}
}

func (b *board) update(change func(*Report)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(&b.report)
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *board) read() (Report, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.report, b.changed
}

// serves notes which process it is whose use is reported.
func (b *board) serves(pid int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pid = pid
}

// process returns that process; 0 for none.
func (b *board) process() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pid
}
