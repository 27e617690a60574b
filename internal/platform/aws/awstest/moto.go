package awstest

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// StartMoto starts moto's server, which ends with the test, and returns its URL.
// Where it is not installed the test is skipped.
func StartMoto(tb testing.TB) string {
	tb.Helper()
	program := motoProgram(tb)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	log, err := os.Create(filepath.Join(tb.TempDir(), "moto.log"))
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(program, "-H", "127.0.0.1", "-p", port)
	cmd.Env = append(cmd.Environ(), "MOTO_S3_CUSTOM_ENDPOINTS=", "MOTO_IAM_LOAD_MANAGED_POLICIES=false")
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
			tb.Logf("moto's log, its end:\n%s", b[max(0, len(b)-4000):])
		}
	})
	deadline := time.Now().Add(60 * time.Second)
	for {
		res, err := http.Get("http://" + addr + "/moto-api/data.json")
		if err == nil {
			res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return "http://" + addr
			}
		}
		if time.Now().After(deadline) {
			tb.Fatalf("moto does not answer: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// motoProgram finds what scripts/moto installs, from any directory of the module.
func motoProgram(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		program := filepath.Join(dir, "bin", "moto", "bin", "moto_server")
		if _, err := os.Stat(program); err == nil {
			return program
		}
		break
	}
	if os.Getenv("GITOPSD_TEST_AWS") != "" {
		tb.Fatal("moto is not installed: scripts/moto does it")
	}
	tb.Skip("moto is not installed: make test-aws does it, and runs this test")
	return ""
}
