package review_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
)

func gitIn(dir string, args ...string) (string, error) {
	c := exec.Command("git", args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.com", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.com")
	out, err := c.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

type ctxt = context.Context

// removesLabel matches what takes a label off.
func removesLabel(r *http.Request) bool { return r.Method == http.MethodDelete }
