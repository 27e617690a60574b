package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/user"

	"github.com/gitopsd/gitopsd/internal/console"
)

// approveCmd lets a held commit be carried out.
type approveCmd struct {
	apiFlags
	Commit string `arg:"" help:"The commit, in any of git's ways."`
	Who    string `help:"Who approves; the user at this machine if not given." placeholder:"NAME"`
}

// Run approves.
func (a *approveCmd) Run(ctx context.Context, t *terminal) error {
	sha, err := resolveCommit(".", a.Commit)
	if err != nil {
		return err
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	who := a.Who
	if who == "" {
		who = whoami()
	}
	var commit console.Commit
	if err := c.send(ctx, http.MethodPost, apiPath("commits", sha, "approve"), console.Approval{Who: who}, &commit); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "approved: %s %s\n", short(commit.Commit.SHA), clean(commit.Commit.Subject))
	fmt.Fprintf(t.err, "follow it with: gitopsd wait %s\n", short(commit.Commit.SHA))
	return nil
}

// whoami names the user and the machine.
func whoami() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}
