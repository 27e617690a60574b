package agent_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// peers: what others do with the same app under the same load: publish → the
// new version answers, and requests that fail meanwhile. Ours is measured so, too.
func peers(t *testing.T) []row {
	reloads := some(40)
	ours := func() (took []time.Duration, failed int64) {
		in := newInstance(t)
		in.process()
		in.await(in.publish(in.stage(map[string]string{"VERSION": "first"})).Seq)
		l := newLoad(in.url, 8)
		for n := range reloads {
			version := strconv.Itoa(n)
			digest := in.stage(map[string]string{"VERSION": version})
			begin := time.Now()
			in.publish(digest)
			in.ring()
			took = append(took, awaitVersion(t, in.url, version, begin))
		}
		l.stop()
		return took, l.failed.Load()
	}
	mine, lost := ours()
	reflex := os.Getenv("REFLEX") // a program that scripts/bench-reload builds
	var rows []row
	for _, peer := range []struct {
		name, program string
		command       func(dir string) *exec.Cmd
	}{
		{"entr -r", lookPath("entr"), func(dir string) *exec.Cmd {
			cmd := exec.Command("entr", "-n", "-r", "./run")
			cmd.Stdin = strings.NewReader(filepath.Join(dir, "version") + "\n")
			return cmd
		}},
		{"reflex -s", reflex, func(string) *exec.Cmd { return exec.Command(reflex, "-s", "-g", "version", "./run") }},
		{"polling every second, stop then start", "/bin/sh", func(string) *exec.Cmd {
			return exec.Command("/bin/sh", "-c", `old=; pid=; trap 'kill $pid; exit' TERM
				while :; do new=$(cat version); if [ "$new" != "$old" ]; then [ -n "$pid" ] && kill $pid && wait $pid; ./run & pid=$!; old=$new; fi; sleep 1; done`)
		}},
	} {
		what := "publish → new version answers, and requests failed a reload, beside " + peer.name
		mineText := fmt.Sprintf("%s; %.2f failed", times(mine), float64(lost)/float64(reloads))
		if peer.program == "" {
			rows = append(rows, row{what, mineText, "not installed", "–", "", false})
			continue
		}
		n := reloads
		if strings.HasPrefix(peer.name, "polling") {
			n = min(n, 15)
		}
		took, failed, missed := peerRun(t, peer.command, n)
		theirs := fmt.Sprintf("%s; %.1f failed", times(took), float64(failed)/float64(n))
		if missed > 0 {
			theirs += fmt.Sprintf("; %d of %d changes not seen", missed, n)
		}
		rows = append(rows, row{
			what, mineText, theirs,
			fmt.Sprintf("%.2f", percent(mine, .5)/percent(took, .5)), "", false,
		})
	}
	return rows
}

func lookPath(program string) string {
	path, _ := exec.LookPath(program)
	return path
}

// awaitVersion returns how long after begin the version answered.
func awaitVersion(t *testing.T, url, version string, begin time.Time) time.Duration {
	t.Helper()
	took, ok := answers(url, version, begin, 20*time.Second)
	if !ok {
		t.Fatalf("version %s does not answer", version)
	}
	return took
}

func answers(url, version string, begin time.Time, within time.Duration) (time.Duration, bool) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for time.Since(begin) < within {
		if res, err := client.Get(url); err == nil {
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if string(b) == version {
				return time.Since(begin), true
			}
		}
		time.Sleep(time.Millisecond)
	}
	return 0, false
}

// peerRun has a peer restart the app n times, under load. A change that it does not
// see within five seconds is one it missed.
func peerRun(t *testing.T, command func(dir string) *exec.Cmd, n int) (took []time.Duration, failed int64, missed int) {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	set := func(version string) {
		temp := filepath.Join(dir, "next")
		if err := os.WriteFile(temp, []byte(version), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temp, filepath.Join(dir, "version")); err != nil {
			t.Fatal(err)
		}
	}
	set("first")
	script := fmt.Sprintf("#!/bin/sh\ncd %s\nexec env PORT=%s VERSION=$(cat version) %s\n", dir, addr[strings.LastIndexByte(addr, ':')+1:], programs.app)
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := command(dir)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		time.Sleep(100 * time.Millisecond)
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		endListener(addr)
	}()
	url := "http://" + addr
	awaitVersion(t, url, "first", time.Now())
	l := newLoad(url, 8)
	defer l.stop()
	for i := range n {
		time.Sleep(50 * time.Millisecond) // a peer that was told too early forgets it
		begin := time.Now()
		set(strconv.Itoa(i))
		if one, ok := answers(url, strconv.Itoa(i), begin, 5*time.Second); ok {
			took = append(took, one)
		} else {
			missed++
		}
	}
	l.stop()
	return took, l.failed.Load(), missed
}

// endListener ends the app that a peer left behind in a group of its own: it
// ends itself when asked to.
func endListener(addr string) {
	res, err := http.Post("http://"+addr+"/crash", "", nil)
	if err == nil {
		res.Body.Close()
	}
}
