package review

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// notice makes a notice; its key says what it is about.
func notice(kind NoticeKind, body any, key ...string) (Notice, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return Notice{}, fmt.Errorf("encode a notice: %w", err)
	}
	return Notice{Key: string(kind) + "/" + strings.Join(key, "/"), Kind: kind, Body: b}, nil
}

// notices returns what shows a report. A draft gets no comment before it is
// ready, and neither does a pull request that means nothing to any tenant;
// once there is one, it is kept true.
func (l *Loop) notices(r *Report) ([]Notice, error) {
	var all []Notice
	add := func(kind NoticeKind, body any, key ...string) error {
		n, err := notice(kind, body, key...)
		all = append(all, n)
		return err
	}
	url := l.Links.Pull(r.Pull.Number)
	err := add(NoticeStatus, Status{
		SHA: r.Pull.Head, Context: ContextPlan, State: r.State, Description: r.Description, URL: url,
	}, ContextPlan, r.Pull.Head)
	if err != nil {
		return nil, err
	}
	body := l.comment(*r)
	if !r.Pull.Draft && (len(r.Steps) > 0 || r.Failure != nil || len(r.Conflicts) > 0 || r.Policy) || r.Commented {
		r.Commented = true
		if err := add(NoticeComment, PullComment{Pull: r.Pull.Number, Body: body}, fmt.Sprint(r.Pull.Number)); err != nil {
			return nil, err
		}
	}
	return all, add(NoticeCheck, Check{
		SHA: r.Pull.Head, Name: ContextPlan, State: r.State, Title: r.Description, Summary: body, URL: url,
		Annotations: annotations(*r),
	}, ContextPlan, r.Pull.Head)
}

// annotations puts what is wrong with files on their lines.
func annotations(r Report) []Annotation {
	var all []Annotation
	for _, s := range r.Steps {
		all = append(all, annotate(s.Problems)...)
	}
	if r.Failure != nil && r.Failure.Kind == fault.Invalid {
		all = append(all, annotate(located(r.Failure.Detail))...)
	}
	return all
}

// Annotate puts problems on their lines; those that are nowhere are left out.
func annotate(problems tenant.Problems) []Annotation {
	var all []Annotation
	for _, p := range problems {
		if p.File == "" {
			continue
		}
		message := p.Message
		if p.Hint != "" {
			message += " (" + p.Hint + ")"
		}
		all = append(all, Annotation{Path: p.File, Line: max(p.Line, 1), Column: p.Column, Level: "failure", Message: message})
	}
	return all
}

// located finds the lines file:line:column: message of a detail.
func located(detail string) tenant.Problems {
	var all tenant.Problems
	for line := range strings.Lines(detail) {
		var p tenant.Problem
		file, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		place, message, ok := strings.Cut(rest, ": ")
		if _, err := fmt.Sscanf(place, "%d:%d", &p.Line, &p.Column); !ok || err != nil {
			continue
		}
		p.File, p.Message = file, message
		all = append(all, p)
	}
	return all
}
