package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/git"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/sfnrun"
)

// taskCmd does the work of a state machine's tasks.
type taskCmd struct {
	Run    taskRunCmd    `cmd:"" help:"Carry one task out, as a container does: input by the environment or as JSON on standard input."`
	Lambda taskLambdaCmd `cmd:"" help:"Carry out tasks as a Lambda function does."`
}

// workerFlags are what both kinds of workers are told.
type workerFlags struct {
	Config string `help:"Configuration file (YAML); what runs in a cell needs none." short:"c" type:"existingfile" env:"GITOPSD_CONFIG"`
}

// open makes the worker and what it works with, which close lets go of.
func (f workerFlags) open(ctx context.Context) (w *sfnrun.Worker, closing func(), err error) {
	c, err := configure(ctx, f.Config)
	if err != nil {
		return nil, nil, err
	}
	d := newDaemon(c, slog.New(slog.NewJSONHandler(os.Stderr, nil)))
	if w, err = d.openWorker(ctx); err != nil {
		d.Close()
		return nil, nil, err
	}
	return w, d.Close, nil
}

// openWorker makes what tasks need, and no control plane: neither lease nor engine.
func (d *daemon) openWorker(ctx context.Context) (*sfnrun.Worker, error) {
	if err := d.openForge(ctx); err != nil { // whose credentials may be the repository's, too
		return nil, fmt.Errorf("connect to GitHub: %w", err)
	}
	if err := d.openPlatform(ctx, func(text string) { d.log.Info("starting", "progress", text) }); err != nil {
		return nil, err
	}
	if err := d.openSources(ctx); err != nil {
		return nil, err
	}
	builder := fetching{d.builder, d.mirror, d.Branch}
	return &sfnrun.Worker{
		Machines: pipeline.Machines(), Logger: d.log,
		Ledger: func(run string) sfnrun.Ledger { return d.ledger.ForRun(run) },
		Tasks: func(l pipeline.Ledger) map[string]pipeline.Task {
			return pipeline.Tasks(d.deps(l, builder))
		},
	}, nil
}

// taskRunCmd carries one task out and writes its output. It tries again by itself,
// and the ledger has how it ended: nothing reads the exit code but people.
type taskRunCmd struct {
	workerFlags
	Name string `arg:"" help:"The task."`
}

// Run works until the task has ended.
func (r *taskRunCmd) Run(ctx context.Context, t *terminal) error {
	c, err := r.call(os.LookupEnv, os.Stdin)
	if err != nil {
		return err
	}
	w, closing, err := r.open(ctx)
	if err != nil {
		return err
	}
	defer closing()
	out, err := w.Contain(ctx, c)
	var failed *sfnrun.Error
	if errors.As(err, &failed) {
		return fmt.Errorf("%s: %w", r.Name, failed.Record.Err())
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(t.out, "%s\n", out)
	return nil
}

// call reads what is to be done: the environment that the state machine gives a
// container, or else JSON.
func (r *taskRunCmd) call(lookup func(string) (string, bool), in io.Reader) (c sfnrun.Call, err error) {
	if reference, ok := lookup("GITOPSD_TASK_RUN"); ok {
		get := func(name string) string {
			value, _ := lookup("GITOPSD_TASK_" + name)
			return value
		}
		c = sfnrun.Call{
			Machine: get("MACHINE"), State: get("STATE"), Task: r.Name, Path: get("PATH"),
			Cause: sfnrun.Cause{Error: get("ERROR")},
		}
		if c.Version, err = strconv.Atoi(get("VERSION")); err == nil {
			err = json.Unmarshal([]byte(reference), &c.Run)
		}
	} else {
		err = json.NewDecoder(in).Decode(&c)
	}
	switch {
	case err != nil:
		return c, fault.Errorf(fault.Invalid, "input of task %s: %w", r.Name, err)
	case c.Task != r.Name:
		return c, fault.Errorf(fault.Invalid, "input of task %s is that of task %q", r.Name, c.Task)
	}
	return c, nil
}

// taskLambdaCmd is the process of a Lambda function (custom runtime). Lambda ends it
// when it likes.
type taskLambdaCmd struct{ workerFlags }

// Run answers invocations for as long as there are some.
func (l *taskLambdaCmd) Run(ctx context.Context) error {
	if err := inLambda("to carry out one task: gitopsd task run"); err != nil {
		return err
	}
	w, closing, err := l.open(ctx)
	if err != nil {
		return err
	}
	defer closing()
	go func() {
		<-ctx.Done()
		closing()
		os.Exit(exitDone) // the runtime's loop has no other end
	}()
	lambda.Start(func(ctx context.Context, c sfnrun.Call) (json.RawMessage, error) {
		out, err := w.Call(ctx, c)
		return out, named(err)
	})
	return nil
}

// inLambda says that this is no Lambda function, if so, and what to do instead.
func inLambda(instead string) error {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		return nil
	}
	return fault.Errorf(fault.Invalid, "there is no AWS_LAMBDA_RUNTIME_API: this is no Lambda function").WithHint("%s", instead)
}

// named gives an error the form by which a state machine knows it.
func named(err error) error {
	var failed *sfnrun.Error
	if errors.As(err, &failed) {
		return messages.InvokeResponse_Error{Type: failed.Name, Message: failed.Message()}
	}
	return err
}

// fetching is a builder that brings the commit first where it is not known: a
// worker follows no branch.
type fetching struct {
	pipeline.Builder
	mirror *git.Mirror
	branch string
}

func (f fetching) fetch(ctx context.Context, commit string) error {
	if _, err := f.mirror.Commit(commit); err == nil {
		return nil
	}
	if _, err := f.mirror.Fetch(ctx); err != nil {
		return err
	}
	return f.mirror.Obtain(ctx, "refs/heads/"+f.branch, commit)
}

// Generate makes the app's source ready to compile.
func (f fetching) Generate(ctx context.Context, b pipeline.Build) (pipeline.Generated, error) {
	if err := f.fetch(ctx, b.Commit); err != nil {
		return pipeline.Generated{}, err
	}
	return f.Builder.Generate(ctx, b)
}

// Compile builds the executable.
func (f fetching) Compile(ctx context.Context, b pipeline.Build) (pipeline.Compiled, error) {
	if err := f.fetch(ctx, b.Commit); err != nil {
		return pipeline.Compiled{}, err
	}
	return f.Builder.Compile(ctx, b)
}

// Bundle puts the release together.
func (f fetching) Bundle(ctx context.Context, b pipeline.Build) (pipeline.Bundled, error) {
	if err := f.fetch(ctx, b.Commit); err != nil {
		return pipeline.Bundled{}, err
	}
	return f.Builder.Bundle(ctx, b)
}

// Migrate brings the database to what the release needs.
func (f fetching) Migrate(ctx context.Context, b pipeline.Build, release, databaseURL string) (pipeline.Migrated, error) {
	if b.Tenant.Database.Seed != "" { // a file of the commit
		if err := f.fetch(ctx, b.Commit); err != nil {
			return pipeline.Migrated{}, err
		}
	}
	return f.Builder.Migrate(ctx, b, release, databaseURL)
}
