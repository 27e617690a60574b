package dbosrun_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/pipeline/dbosrun"
	"github.com/gitopsd/gitopsd/internal/postgres"
)

// killed is a machine with everything in it: a retry, a nested machine, a
// choice, a failure that is caught and one that ends the run.
func killed() []pipeline.Machine {
	flaky := task("Flaky", "Inner")
	flaky.Retry = pipeline.Retry{Attempts: 50, Base: time.Millisecond, Cap: 2 * time.Millisecond}
	breaks := task("Break", "")
	breaks.Catch = "Mend"
	return []pipeline.Machine{
		machine(task("One", "Flaky"), flaky, pipeline.State{Name: "Inner", Machine: "inner", Next: "Which"},
			pipeline.State{Name: "Which", Choice: []pipeline.Branch{{State: "One", Field: "other", Equals: true, Next: "Never"}}, Next: "Break"},
			task("Never", ""), breaks, task("Mend", "Sorry"), pipeline.State{Name: "Sorry", Fail: true}),
		{Name: "inner", Version: 1, Start: "Two", States: []pipeline.State{task("Two", "Three"), task("Three", "")}},
	}
}

// child is a daemon: it takes the lease, goes on with what runs, and ends when
// that is over. Its tasks write down that they begin.
func child(url string) error {
	ctx := context.Background()
	path := os.Getenv("DBOSRUN_TEST_FILE")
	note := func(line string) error {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		defer f.Close()
		if _, err = fmt.Fprintln(f, line); err == nil {
			time.Sleep(10 * time.Millisecond) // work, during which it may be killed
		}
		return err
	}
	tries := 0
	tasks := map[string]pipeline.Task{
		"Flaky": func(context.Context, pipeline.Input) (any, error) {
			if tries++; tries < 3 {
				return nil, fault.Errorf(fault.Transient, "busy")
			}
			return nil, note("Flaky")
		},
		"Break": func(context.Context, pipeline.Input) (any, error) {
			if err := note("Break"); err != nil {
				return nil, err
			}
			return nil, fault.Errorf(fault.NotFound, "lost").WithHint("look again").WithDetail("everywhere")
		},
		"Mend": func(_ context.Context, in pipeline.Input) (any, error) {
			return nil, note(fmt.Sprintf("Mend %s %s %s %s", in.Cause.Kind, in.Cause.Message, in.Cause.Hint, in.Cause.Detail))
		},
	}
	for _, name := range []string{"One", "Two", "Three", "Never"} {
		tasks[name] = func(context.Context, pipeline.Input) (any, error) { return map[string]int{"n": 1}, note(name) }
	}
	ledger, err := postgres.Open(ctx, url)
	if err != nil {
		return err
	}
	if err := ledger.Acquire(ctx, "child"); err != nil {
		return err
	}
	over := make(chan string, 9)
	engine, err := dbosrun.New(ctx, dbosrun.Config{
		URL: url, Machines: killed(), Tasks: tasks, Ledger: ledger,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Finished: func(run string) { over <- run },
	})
	if err != nil {
		return err
	}
	runs, err := ledger.Running(ctx)
	if err != nil {
		return err
	}
	for _, r := range runs {
		if err := engine.Start(ctx, r); err != nil {
			return err
		}
	}
	if len(runs) > 0 {
		<-over
	}
	return engine.Close(time.Second)
}

func TestKilledAtAnyInstant(t *testing.T) {
	t.Parallel()
	const kills = 10
	b := setUp(t, map[string]pipeline.Task{"Do": ok}, machine(task("Do", "")))
	must(t, b.engine.Close(time.Second)) // it made the schema
	r := b.deploy("acme")
	b.ledger.Close()
	file := filepath.Join(t.TempDir(), "notes")
	notes := func() []string {
		raw, err := os.ReadFile(file)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return strings.Fields(strings.ReplaceAll(string(raw), " ", "_"))
	}
	conn, err := pgx.Connect(t.Context(), b.url)
	must(t, err)
	defer conn.Close(t.Context())
	recorded := func() map[string]bool {
		rows, err := conn.Query(t.Context(), `SELECT function_name FROM dbos.operation_outputs`)
		must(t, err)
		names, err := pgx.CollectRows(rows, pgx.RowTo[string])
		must(t, err)
		done := map[string]bool{}
		for _, n := range names {
			done[n[strings.LastIndex(n, "/")+1:]] = true
		}
		return done
	}
	spawn := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "DBOSRUN_TEST_CHILD="+b.url, "DBOSRUN_TEST_FILE="+file)
		cmd.Stderr = t.Output()
		must(t, cmd.Start())
		return cmd
	}
	done := 0
	for done < kills {
		before, was := notes(), recorded()
		cmd := spawn()
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait() // it is killed
			close(ended)
		}()
		b.until("the child gets on", func() bool {
			select {
			case <-ended:
				return true
			default:
				return len(notes()) > len(before)
			}
		})
		time.Sleep(rand.N(25 * time.Millisecond)) // anywhere from here to two states on
		_ = cmd.Process.Kill()                    // it may have ended
		<-ended
		done++
		for _, n := range notes()[len(before):] {
			if state, _, _ := strings.Cut(n, "_"); was[state] {
				t.Errorf("kill %d: state %s ran again though it was recorded", done, state)
			}
		}
		if len(recorded()) == 6 {
			break
		}
	}
	if done < 3 {
		t.Errorf("only %d kills before the run's end", done)
	}
	cmd := spawn()
	must(t, cmd.Wait())

	times := map[string]int{}
	for _, n := range notes() {
		times[n]++
	}
	extra := 0
	for _, n := range times {
		extra += n - 1
	}
	var names []string
	for _, n := range []string{"One", "Flaky", "Two", "Three", "Break", "Mend_NotFound_lost_look_again_everywhere"} {
		names = append(names, n)
		if times[n] == 0 {
			t.Errorf("%s did not run: %v", n, times)
		}
	}
	if len(times) != len(names) || extra > done {
		t.Errorf("%d kills, states ran %v", done, times)
	}
	t.Logf("%d kills, %d states ran again", done, extra)
	ledger := b.open()
	end, err := ledger.Run(t.Context(), r.ID)
	must(t, err)
	if diff := cmp.Diff(&fault.Record{Kind: fault.NotFound, Message: "lost", Hint: "look again", Detail: "everywhere"}, end.Failure); diff != "" {
		t.Errorf("failure (-want +got):\n%s", diff)
	}
}
