package local_test

import (
	"testing"
	"time"
)

// idleApp: a tenant that says so has its app stopped when nobody asks for it,
// and back for the next who does.
func idleApp(t *testing.T, w *world) {
	configure := func(after time.Duration) {
		t.Helper()
		c := config("left")
		c.Compute.IdleAfter = after
		if err := w.driver.EnsureInfrastructure(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	phase := func() string {
		instances, err := w.driver.Instances(t.Context(), "left")
		if err != nil || len(instances) != 1 {
			t.Fatal(instances, err)
		}
		return instances[0].Report.Phase
	}
	configure(500 * time.Millisecond)
	eventually(t, "the app does not sleep", func() bool { return phase() == "asleep" })
	if !w.serves(t, "left") {
		t.Error("a request did not wake the app")
	}
	eventually(t, "the app does not sleep again", func() bool { return phase() == "asleep" })
	configure(0)
	eventually(t, "the app is not back", func() bool { return phase() == "serving" })
}
