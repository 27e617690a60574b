package agent_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	measure = flag.String("targets", "", "measure the agent beside its references and write the table to this `file`")
	only    = flag.String("only", "", "measure this part alone")
	fewer   = flag.Int("fewer", 1, "divide the number of reloads, requests and tenants that are measured by `n`")
)

// row is one figure beside its reference.
type row struct {
	what, ours, reference, ratio, target string
	met                                  bool
}

func (r row) String() string {
	verdict := map[bool]string{true: "met", false: "**missed**"}[r.met]
	switch r.target {
	case "", "–":
		r.target, verdict = "–", "–"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n", r.what, r.ours, r.reference, r.ratio, r.target, verdict)
}

// TestTargets measures all that the agent is to be good at, each beside its
// reference and in one run. It takes minutes, and is run by scripts/bench-reload.
func TestTargets(t *testing.T) {
	if *measure == "" {
		t.Skip("run by scripts/bench-reload")
	}
	out, err := os.Create(*measure)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	write := func(s string) {
		fmt.Print(s)
		if _, err := out.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	write("| what | ours | reference | ratio | target | |\n|---|---|---|---|---|---|\n")
	for _, part := range []struct {
		name    string
		measure func(*testing.T) []row
	}{
		{"detection", detection},
		{"peers", peers},
		{"dropped", dropped},
		{"bad", badReleases},
		{"hop", hop},
		{"agent", idleAgent},
		{"tenants", idleTenants},
	} {
		if *only != "" && *only != part.name {
			continue
		}
		for _, r := range part.measure(t) {
			write(r.String())
		}
	}
}

// percent returns a percentile, in milliseconds.
func percent(d []time.Duration, p float64) float64 {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return percentile(d, p) / 1e3
}

// times writes the median and the 99th percentile.
func times(d []time.Duration) string {
	return fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", percent(d, .5), percent(d, .99))
}

// some is a number of things to measure.
func some(n int) int { return max(2, n / *fewer) }

// grown returns the test's app with zeros after its end, which do no harm.
func grown(t testing.TB, size int) string {
	t.Helper()
	content, err := os.ReadFile(programs.app)
	if err != nil {
		t.Fatal(err)
	}
	path := t.TempDir() + "/app"
	if err := os.WriteFile(path, append(content, make([]byte, max(0, size-len(content)))...), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// lineTimes has the times at which an agent's log says a thing.
type lineTimes struct{ lines chan timedLine }

type timedLine struct {
	at   time.Time
	text string
}

// Write implements io.Writer; a log's record comes in one call.
func (l *lineTimes) Write(b []byte) (int, error) {
	l.lines <- timedLine{time.Now(), string(b)}
	return len(b), nil
}

// await returns when the log next said the text.
func (l *lineTimes) await(t testing.TB, text string) time.Time {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case line := <-l.lines:
			if strings.Contains(line.text, text) {
				return line.at
			}
		case <-deadline:
			t.Fatalf("the agent does not say %q", text)
		}
	}
}
