package awstest

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// StartMoto starts moto's server, which ends with the test, and returns its URL.
// Where it is not installed the test is skipped.
func StartMoto(tb testing.TB) string {
	tb.Helper()
	program := installed(tb, "moto", "moto_server")
	port := must[int](tb)(freePort())
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", strconv.Itoa(port))
	cmd.Env = append(cmd.Environ(), "MOTO_S3_CUSTOM_ENDPOINTS=", "MOTO_IAM_LOAD_MANAGED_POLICIES=false")
	return startServer(tb, "moto", cmd, "http://"+local(port), "/moto-api/data.json")
}

// StartMinistack starts ministack, another's AWS that ours is held against. Where
// it is not installed the test is skipped.
func StartMinistack(tb testing.TB) string {
	tb.Helper()
	program := installed(tb, "ministack", "ministack")
	port := must[int](tb)(freePort())
	cmd := exec.Command(program)
	cmd.Dir = tb.TempDir()
	cmd.Env = append(cmd.Environ(), "GATEWAY_PORT="+strconv.Itoa(port), "MINISTACK_ACCOUNT_ID="+Account, "MINISTACK_REGION="+Region, "MINISTACK_HOST=127.0.0.1")
	return startServer(tb, "ministack", cmd, "http://"+local(port), "/_ministack/health")
}

// startServer starts a server, which ends with the test, and returns its URL once
// it answers there.
func startServer(tb testing.TB, name string, cmd *exec.Cmd, url, health string) string {
	tb.Helper()
	log := must[*os.File](tb)(os.Create(filepath.Join(tb.TempDir(), name+".log")))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the group is its own
		_ = cmd.Wait()
		log.Close()
		if tb.Failed() {
			b, _ := os.ReadFile(log.Name())
			tb.Logf("what %s says, its end:\n%s", name, b[max(0, len(b)-4000):])
		}
	})
	deadline := time.Now().Add(60 * time.Second)
	for {
		res, err := http.Get(url + health)
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return url
			}
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%s does not answer: %v", name, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// installed finds what scripts/<name> installs, from any directory of the module.
func installed(tb testing.TB, name, program string) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		path := filepath.Join(dir, "bin", name, "bin", program)
		if _, err := os.Stat(path); err == nil {
			return path
		}
		break
	}
	if os.Getenv("GITOPSD_TEST_AWS") != "" {
		tb.Fatalf("%s is not installed: scripts/%s does it", name, name)
	}
	tb.Skipf("%s is not installed: make test-aws does it, and runs this test", name)
	return ""
}
