package main

import (
	"bytes"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	t.Parallel()
	show := func(colours bool) string {
		var out bytes.Buffer
		b := (&terminal{out: &out, colour: colours}).table("  ", "NAME", "PHASE", "MESSAGE")
		b.row("é", "Ready", "")
		b.row("evil\x1b[2J\u202e", "", "moves\nthe cursor")
		b.row("last", "Failed", "")
		if err := b.print(func(column int, cell string) colour {
			if column == 1 && cell == "Failed" {
				return red
			}
			return plain
		}); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	const want = "  NAME       PHASE   MESSAGE\n" +
		"  é          Ready\n" +
		"  evil\ufffd[2J\ufffd  -       moves\ufffdthe cursor\n" +
		"  last       Failed\n"
	if got := show(false); got != want {
		t.Errorf("without colours:\n%q, want\n%q", got, want)
	}
	coloured := want[:len(want)-len("Failed\n")] + "\x1b[31mFailed\x1b[39m\n"
	if got := show(true); got != coloured {
		t.Errorf("with colours:\n%q, want\n%q", got, coloured)
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for d, want := range map[time.Duration]string{
		0: "0s", 119 * time.Second: "119s", 2 * time.Minute: "2m", 119 * time.Minute: "119m", 2 * time.Hour: "2h", 72 * time.Hour: "3d", -time.Hour: "0s",
	} {
		if got := age(now.Add(-d), now); got != want {
			t.Errorf("age of %s is %q, want %q", d, got, want)
		}
	}
	if got := age(time.Time{}, now); got != "" {
		t.Errorf("age of never is %q", got)
	}
}

func TestStreamIsClean(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	w := &cleanWriter{w: &out}
	// A character may come in two writes.
	for _, part := range []string{"caf\xc3", "\xa9\t1\r\n\x1b[2J", "end\xe2\x82"} {
		if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
			t.Fatalf("wrote %d, %v", n, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "café\t1\n\ufffd[2Jend\ufffd"; got != want {
		t.Errorf("a stream is shown as %q, want %q", got, want)
	}
}
