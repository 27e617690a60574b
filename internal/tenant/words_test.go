package tenant_test

import (
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/tenant"
)

func TestFormatDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0", 168 * time.Hour: "7d", 36 * time.Hour: "36h", 15 * time.Minute: "15m", 90 * time.Second: "1m30s",
		10 * time.Second: "10s", 90 * time.Minute: "1h30m", 100 * time.Millisecond: "100ms",
	} {
		got := tenant.FormatDuration(d)
		if got != want {
			t.Errorf("%s is %q, want %q", d, got, want)
		}
		if back, ok := tenant.ParseDuration(got); d >= time.Second && (!ok || back != d) {
			t.Errorf("%q reads as %s, %v", got, back, ok)
		}
	}
}
