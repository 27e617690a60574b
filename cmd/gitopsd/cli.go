package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// commands is the command line: one field a subcommand.
type commands struct {
	Up         upCmd         `cmd:"" help:"Run the whole platform on this machine; Ctrl-C stops it."`
	Run        runCmd        `cmd:"" help:"Run the daemon for a service manager."`
	Init       initCmd       `cmd:"" help:"Write a repository of tenants."`
	Validate   validateCmd   `cmd:"" help:"Check tenant files, without a daemon."`
	Plan       planCmd       `cmd:"" help:"Say what the working tree would change."`
	Get        getCmd        `cmd:"" help:"List tenants, commits, receipts or tombstones."`
	Describe   describeCmd   `cmd:"" help:"Show everything about one tenant."`
	Status     statusCmd     `cmd:"" help:"Show how far a commit is."`
	Wait       waitCmd       `cmd:"" help:"Wait until a commit is over."`
	Logs       logsCmd       `cmd:"" help:"Show what a tenant's app writes."`
	Approve    approveCmd    `cmd:"" help:"Let a held commit be carried out."`
	Retry      retryCmd      `cmd:"" help:"Try again what failed last for a tenant."`
	Tombstones tombstonesCmd `cmd:"" help:"List deleted tenants whose data is kept."`
	Snapshots  snapshotsCmd  `cmd:"" help:"List what was saved of a tenant."`
	Restore    restoreCmd    `cmd:"" help:"Bring back what a tenant had."`
	Purge      purgeCmd      `cmd:"" help:"Take away a deleted tenant's data now."`
	Secret     secretCmd     `cmd:"" help:"Set the value of a tenant's secret."`
	Platform   platformCmd   `cmd:"" help:"Make what tenants share on AWS: a cell."`
	Version    versionCmd    `cmd:"" help:"Show the version."`

	// What the daemon starts as processes of their own.
	DNS  dnsCmd  `cmd:"" name:"dns" hidden:""`
	Edge edgeCmd `cmd:"" hidden:""`

	// What Step Functions starts.
	Task taskCmd `cmd:"" hidden:""`
	// What webhooks and a schedule start.
	Sync syncCmd `cmd:"" hidden:""`
}

const description = `Host a tenant for each YAML file in a Git repository.

Exit codes: 0 done; 1 failed; 2 the input is invalid; 3 not finished (wait: the time is over, or the commit is held); ` +
	`4 not found, or no daemon answers.`

// execute runs one command line and returns the exit code.
func execute(args []string, t *terminal) int {
	parser, err := kong.New(&commands{},
		kong.Name("gitopsd"), kong.Description(description), kong.UsageOnError(),
		kong.Writers(t.out, t.err), kong.ConfigureHelp(kong.HelpOptions{Compact: true, WrapUpperBound: 100}),
		kong.Vars{"default_server": defaultServer}, kong.Bind(t), kong.BindToProvider(interruptible),
	)
	if err != nil {
		return t.fail(err)
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if err != nil {
		return t.fail(misused(err))
	}
	return t.fail(command.Run())
}

// interruptible gives commands that ask for it a context that ends when the
// user interrupts; others decide about signals themselves.
func interruptible() (context.Context, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second interrupt ends the program at once
	return ctx, nil
}
