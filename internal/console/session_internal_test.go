package console

import (
	"strings"
	"testing"
	"time"
)

func TestSessionExpires(t *testing.T) {
	t.Parallel()
	s, err := newSessions(strings.Repeat("a", 64))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	proof := s.issue(now.Add(sessionAge))
	if !s.good(proof, now) || !s.good(proof, now.Add(sessionAge-2*time.Second)) {
		t.Error("a session ends early")
	}
	if s.good(proof, now.Add(sessionAge)) {
		t.Error("a session does not end")
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		took(0): "", took(time.Microsecond): "1 ms", took(999 * time.Millisecond): "999 ms", took(1500 * time.Millisecond): "1.5 s",
		took(time.Minute): "1 minute", took(70 * time.Second): "1 minute 10 seconds", period(168 * time.Hour): "7 days", period(90 * time.Minute): "1 hour 30 minutes", period(25 * time.Hour): "1 day 1 hour",
		line("a\n\tb"): "a b", line("\u202eevil\x00"): "\uFFFDevil\uFFFD", text("a\x1b[31;1mred\x1b[0m\r\nb\tc"): "ared\nb    c",
		short("sha256:0123456789abcdef"): "0123456789ab", short("abc"): "abc", host("https://acme.example/"): "acme.example",
		cut("äöü", 3): "äöü", cut("äöüß", 3): "äö…",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	b := &budget{}
	for range 100 {
		if out := b.output("first" + strings.Repeat("ä", maxOutput) + "last"); len(out) > maxOutput+100 {
			t.Fatalf("an output is %d bytes long", len(out))
		}
	}
	if b.spent > maxOutputs+100*100 {
		t.Errorf("a page shows %d bytes of output", b.spent)
	}
}
