package release_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/release"
)

const publisherVolume = "RELEASE_TEST_VOLUME"

// TestMain is also the publisher that TestKilledPublisher kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv(publisherVolume); dir != "" {
		v := release.Open(dir)
		for i := 0; ; i++ {
			digest, err := tryCommit(v, i%7)
			if err == nil {
				_, err = v.Publish(digest, fmt.Sprint(os.Getpid(), "-", i))
			}
			if err == nil {
				_, err = v.GC()
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// A publisher that is killed anywhere leaves a volume on which everything that
// can be read is whole, and on which the next publisher goes on.
func TestKilledPublisher(t *testing.T) {
	t.Parallel()
	v := newVolume(t)
	var last release.Pointer
	for round := range 25 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), publisherVolume+"="+v.Dir())
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(20*time.Millisecond+rand.N(60*time.Millisecond), func() { _ = cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		if cmd.ProcessState.Exited() {
			t.Fatalf("round %d: the publisher failed: %v", round, err)
		}
		p, ok, err := v.Current()
		if err != nil || p.Seq < last.Seq {
			t.Fatalf("round %d: %+v, %v after %+v", round, p, err, last)
		}
		last = p
		if ok {
			if err := v.Verify(p.SHA256); err != nil {
				t.Fatalf("round %d: the current release: %v", round, err)
			}
		}
		digests, err := v.List()
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range digests {
			if err := v.Verify(d); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		}
	}
	if last.Seq < 5 {
		t.Errorf("only %d publishes in all", last.Seq)
	}
	if err := v.CleanStaging(0); err != nil {
		t.Fatal(err)
	}
	noStaging(t, v)
	if entries, _ := os.ReadDir(filepath.Join(v.Dir(), "releases")); len(entries) == 0 {
		t.Error("nothing is left")
	}
	t.Logf("%d publishes, killed 25 times", last.Seq)
}
