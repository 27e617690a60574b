package aws

import (
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs/types"
)

const (
	// logShown is how much of a tenant's log is shown from the past, in bytes.
	logShown = 1 << 20
	// logLate is how much later than it was written a line may come to be seen.
	logLate = 30 * time.Second
)

// appLine is a line that an app wrote: its agent puts time and release before it.
// The agent's own are of another form.
var appLine = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z `)

// Logs implements platform.Platform. Lines begin with their time, and, where
// there are several tasks, the end of the task's ID.
func (d *Driver) Logs(ctx context.Context, tenant string, w io.Writer, follow bool) error {
	if _, err := d.known(ctx, tenant); err != nil {
		return err
	}
	t := &logTail{api: d.logs, group: d.named(tenant).LogGroupName(), seen: make(map[string]time.Time)}
	now := time.Now()
	lines, err := t.past(ctx, now)
	if err != nil {
		return fmt.Errorf("logs of %s: %w", tenant, err)
	}
	tick := time.NewTicker(d.c.Timing.Logs)
	defer tick.Stop()
	for {
		for _, line := range lines {
			if _, err := io.WriteString(w, line+"\n"); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if lines, err = t.since(ctx, time.Now()); err != nil && ctx.Err() == nil {
			return fmt.Errorf("logs of %s: %w", tenant, err)
		}
	}
}

// logTail reads a group of logs as it grows.
type logTail struct {
	api   *cloudwatchlogs.Client
	group string
	from  time.Time            // of the next look
	seen  map[string]time.Time // events since then that were read
}

// past returns the last lines before now. It looks further back as long as there
// are few.
func (t *logTail) past(ctx context.Context, now time.Time) ([]string, error) {
	t.from = now.Add(-logLate)
	var lines []string
	size, end := 0, now.Add(time.Minute) // its clock may be ahead of ours
	for _, back := range []time.Duration{10 * time.Minute, 2 * time.Hour, 24 * time.Hour, 30 * 24 * time.Hour} {
		begin := now.Add(-back)
		more, err := t.read(ctx, begin, end)
		if err != nil {
			return nil, err
		}
		for _, line := range more {
			size += len(line)
		}
		lines = append(more, lines...)
		if end = begin; size >= logShown {
			break
		}
	}
	for ; size > logShown; lines = lines[1:] {
		size -= len(lines[0])
	}
	return lines, nil
}

// since returns the lines that came since the last look.
func (t *logTail) since(ctx context.Context, now time.Time) ([]string, error) {
	lines, err := t.read(ctx, t.from, now.Add(time.Minute))
	if err == nil {
		t.from = now.Add(-logLate)
		maps.DeleteFunc(t.seen, func(_ string, at time.Time) bool { return at.Before(t.from) })
	}
	return lines, err
}

// read returns the lines between two times that were not returned before, in
// their order.
func (t *logTail) read(ctx context.Context, begin, end time.Time) ([]string, error) {
	var events []cwtypes.FilteredLogEvent
	pages := cloudwatchlogs.NewFilterLogEventsPaginator(t.api, &cloudwatchlogs.FilterLogEventsInput{
		LogGroupName: awssdk.String(t.group), StartTime: awssdk.Int64(begin.UnixMilli()), EndTime: awssdk.Int64(end.UnixMilli() - 1),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if absent(err) {
			return nil, nil
		}
		if err != nil {
			return nil, failure("read logs", err)
		}
		for _, e := range page.Events {
			id := awssdk.ToString(e.EventId)
			if _, again := t.seen[id]; again || !appLine.MatchString(awssdk.ToString(e.Message)) {
				continue
			}
			t.seen[id] = time.UnixMilli(awssdk.ToInt64(e.Timestamp))
			events = append(events, e)
		}
	}
	streams := make(map[string]bool)
	for _, e := range events {
		streams[awssdk.ToString(e.LogStreamName)] = true
	}
	lines := make([]string, len(events))
	for i, e := range events {
		at, text, _ := strings.Cut(strings.TrimRight(awssdk.ToString(e.Message), "\n"), " ")
		if len(streams) > 1 {
			text = lastOf(awssdk.ToString(e.LogStreamName)) + " " + text
		}
		lines[i] = at + " " + text
	}
	slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(stampOf(a), stampOf(b)) })
	return lines, nil
}

// stampOf returns a line's time, which comes first.
func stampOf(line string) string {
	first, _, _ := strings.Cut(line, " ")
	return first
}

// lastOf returns the end of a stream's name, which is its task's ID.
func lastOf(stream string) string { return stream[max(0, len(stream)-8):] }
