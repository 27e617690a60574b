package release_test

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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

// A publisher that may give nothing away, as on a network file system, makes
// everything readable to the group of a directory that hands its group on.
func TestPublisherWithoutPrivileges(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root becomes another user")
	}
	const publisher, tenant = 9000, 54321
	base, err := os.MkdirTemp("", "gitopsd-release-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	program, dir := filepath.Join(base, "publisher"), filepath.Join(base, "volume")
	b, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = errors.Join(os.Chmod(base, 0o711), os.WriteFile(program, b, 0o755), os.Mkdir(dir, 0o700), //nolint:gosec // another user runs it
			os.Chown(dir, publisher, tenant), os.Chmod(dir, 0o750|fs.ModeSetgid))
	}
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env, cmd.Stderr = append(os.Environ(), publisherVolume+"="+dir), os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: publisher, Gid: publisher}}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	v := release.Open(dir)
	deadline := time.Now().Add(30 * time.Second)
	for {
		if p, ok, err := v.Current(); err == nil && ok && p.Seq > 3 || time.Now().After(deadline) {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	seen := 0
	err = filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(e.Name(), ".") { // begun, and the publisher's own
			if e.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		seen++
		if gid := info.Sys().(*syscall.Stat_t).Gid; gid != tenant || info.Mode().Perm()&0o040 == 0 {
			t.Errorf("%s has gid %d and mode %v", path, gid, info.Mode())
		}
		return nil
	})
	if err != nil || seen < 5 {
		t.Errorf("%d files and directories: %v", seen, err)
	}
}
