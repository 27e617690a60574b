package console

import (
	"fmt"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/pipeline"
)

// messageOf says in one line what there is to know of a tenant: what happens to
// it, else why it is not as its file says.
func messageOf(r Record, refused *Refusal) string {
	switch {
	case r.Run != nil && r.Run.Status == pipeline.Queued:
		return fmt.Sprintf("%s waits for its turn", r.Run.Operation)
	case r.Run != nil && r.Run.Status == pipeline.Running:
		return strings.TrimRight(fmt.Sprintf("%s: %s", r.Run.Operation, r.Run.State), ": ")
	case refused != nil:
		return refusedBy(*refused)
	case r.Failing:
		return failure(r.Run)
	case r.Deleted && !r.PurgeAfter.IsZero():
		return "deleted; data is kept until " + r.PurgeAfter.UTC().Format(time.DateTime) + " UTC"
	case r.Tenant != nil && r.Tenant.Suspend:
		return "spec.suspend is set: nothing is reconciled"
	}
	return ""
}

func refusedBy(r Refusal) string {
	line, _, _ := strings.Cut(r.Failure.Message, "\n")
	return fmt.Sprintf("refused in %s: %s", r.Commit.SHA[:min(len(r.Commit.SHA), 7)], line)
}

func failure(run *pipeline.Run) string {
	if run == nil || run.Failure == nil {
		return "the last run failed"
	}
	line, _, _ := strings.Cut(run.Failure.Message, "\n")
	if run.State != "" {
		return run.State + ": " + line
	}
	return line
}
