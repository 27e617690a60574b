package review

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// labelWish is what is known of the label on a head: who set it, and whether
// that counts.
type labelWish struct {
	head    string // that it was looked up for
	pull    time.Time
	by      string
	refused string // why it does not count
}

// keepPreviews has the previews be what labels ask for: at most one a tenant and
// pull request, of a head that someone who may has asked for.
func (l *Loop) keepPreviews(ctx context.Context) error {
	found, err := l.Ledger.Previews(ctx)
	if err != nil {
		return err
	}
	settings, err := l.accepted(ctx)
	if fault.Is(err, fault.Invalid) {
		return nil // an invalid policy allows nothing new, and is told elsewhere
	}
	if err != nil {
		return err
	}
	byPull := map[int][]Preview{}
	live := 0
	for _, p := range found {
		if !p.Ended {
			byPull[p.Pull] = append(byPull[p.Pull], p)
			live++
		} else if err := l.endAgain(ctx, p); err != nil {
			return err
		}
	}
	for number, previews := range byPull {
		kept, err := l.endStale(ctx, l.pulls[number], previews, settings)
		if err != nil {
			return err
		}
		live -= len(previews) - len(kept)
		byPull[number] = kept
	}
	room := settings.Preview.Max - live
	for _, number := range slices.Sorted(maps.Keys(l.pulls)) {
		r := l.pulls[number]
		if err := l.keepPreview(ctx, r, byPull[number], settings, &room); err != nil {
			return fmt.Errorf("preview of pull request %d: %w", number, err)
		}
	}
	return nil
}

// endAgain tries again to take away a preview whose last try failed.
func (l *Loop) endAgain(ctx context.Context, p Preview) error {
	name := p.Tenant.Name
	if !p.Failing {
		delete(l.ended, name)
		return nil
	}
	if time.Since(l.ended[name]) < endBackoff {
		return nil
	}
	l.ended[name] = time.Now()
	defer l.Planner.Wake()
	return l.Ledger.EndPreview(ctx, name, previewRun(p, plan.Deprovision))
}

// endBackoff is how long a preview that could not be taken away is left alone.
const endBackoff = 5 * time.Minute

// endStale ends the previews that nobody asks for any more, or that are too old.
func (l *Loop) endStale(ctx context.Context, r *review, previews []Preview, settings sync.Settings) (kept []Preview, err error) {
	for _, p := range previews {
		old := time.Now().After(p.Expires)
		if r != nil && slices.Contains(r.pull.Labels, settings.Preview.Label) && !old && settings.Preview.Max > 0 {
			kept = append(kept, p)
			continue
		}
		if err := l.Ledger.EndPreview(ctx, p.Tenant.Name, previewRun(p, plan.Deprovision)); err != nil {
			return nil, err
		}
		l.Log.Info("preview ends", "tenant", p.Tenant.Name, "pull", p.Pull)
		l.Planner.Wake()
		if r != nil && old {
			if err := l.unlabel(ctx, r, settings.Preview.Label, p.Head+"/old"); err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}

func (l *Loop) unlabel(ctx context.Context, r *review, label, why string) error {
	n, err := notice(NoticeUnlabel, Unlabel{Pull: r.pull.Number, Label: label}, fmt.Sprint(r.pull.Number), why)
	if err != nil {
		return err
	}
	signal(l.deliver)
	return l.Ledger.PutNotices(ctx, []Notice{n})
}

// keepPreview makes a pull request's previews, or says why not.
func (l *Loop) keepPreview(ctx context.Context, r *review, have []Preview, settings sync.Settings, room *int) error {
	label := settings.Preview.Label
	if !slices.Contains(r.pull.Labels, label) {
		return l.showPreviews(ctx, r, nil)
	}
	if r.report.Pull.Head != r.pull.Head || r.gone || !r.made {
		return nil // its plan comes first
	}
	current := len(have) > 0 && !slices.ContainsFunc(have, func(p Preview) bool { return p.Head != r.pull.Head })
	shown := l.shown(have)
	if current {
		return l.showPreviews(ctx, r, shown)
	}
	if err := l.lookUpLabel(ctx, r, label); err != nil {
		return err
	}
	why := r.asked.refused
	if why == "" && r.report.Failure != nil {
		why = "the plan failed"
	}
	if why != "" {
		return l.showPreviews(ctx, r, refused(shown, why))
	}
	wanted := previewable(r.report)
	if n := len(wanted) - len(have); n > *room {
		return l.showPreviews(ctx, r, refused(shown, fmt.Sprintf("there is room for %d at a time", settings.Preview.Max)))
	} else if n > 0 {
		*room -= n
	}
	made, err := l.makePreviews(ctx, r, wanted, settings)
	if fault.Is(err, fault.Invalid) || fault.Is(err, fault.NotFound) {
		return l.showPreviews(ctx, r, refused(shown, err.Error()))
	}
	if err != nil {
		return err
	}
	for _, p := range have { // of tenants that the newer head does not touch
		if !slices.ContainsFunc(made, func(m Preview) bool { return m.Tenant.Name == p.Tenant.Name }) {
			if err := l.Ledger.EndPreview(ctx, p.Tenant.Name, previewRun(p, plan.Deprovision)); err != nil {
				return err
			}
		}
	}
	l.Planner.Wake()
	shown = l.shown(made)
	if len(made) == 0 {
		shown = refused(nil, "the pull request changes no tenant that could be shown")
	}
	return l.showPreviews(ctx, r, shown)
}

// previewable returns the steps of a plan that can be seen before they are merged.
func previewable(report Report) []StepShown {
	return slices.DeleteFunc(slices.Clone(report.Steps), func(s StepShown) bool {
		return s.Failure != nil || s.Desired == nil || s.Desired.Tenant == nil ||
			s.Operation != plan.Provision && s.Operation != plan.Update && s.Operation != plan.Deploy
	})
}

func (l *Loop) makePreviews(ctx context.Context, r *review, wanted []StepShown, settings sync.Settings) ([]Preview, error) {
	var made []Preview
	for _, s := range wanted {
		t := previewOf(s.Desired.Tenant, r.pull.Number, settings.Preview)
		d, err := l.Planner.Desire(ctx, r.pull.Head, t)
		if err != nil {
			return made, err
		}
		p := Preview{
			Tenant: t, Pull: r.pull.Number, Of: s.Tenant, Head: r.pull.Head, By: r.asked.by,
			Infra: d.Infra, App: d.App, Sources: d.Sources, Expires: time.Now().Add(settings.Preview.MaxAge).UTC(),
		}
		if err := l.Ledger.PutPreview(ctx, p, previewRun(p, plan.Provision)); err != nil {
			return made, err
		}
		l.Log.Info("preview asked for", "tenant", t.Name, "pull", p.Pull, "commit", p.Head, "who", p.By)
		made = append(made, p)
	}
	return made, nil
}

// previewOf returns what a preview of a tenant is: its app and sizes, alone and
// small, without its secrets and domains, and gone at once when it ends.
func previewOf(t *tenant.Tenant, pull int, rules sync.PreviewRules) *tenant.Tenant {
	p := *t
	p.Name = PreviewName(t.Name, pull)
	p.Domains, p.App.Secrets = nil, nil
	p.Compute.Scale.Min, p.Compute.Scale.Max = 1, 1
	p.Isolation = tenant.Isolation{Compute: tenant.Shared, Database: tenant.Shared, Cache: tenant.Shared}
	p.Deletion = tenant.Deletion{}
	if p.Database.Enabled {
		p.Database.Seed = rules.Seed
	}
	return &p
}

// PreviewName names the preview tenant of a tenant for a pull request. Tenant
// files cannot have such names. What would be too long is cut and keeps a hash.
func PreviewName(name string, pull int) string {
	suffix := fmt.Sprintf("-pr-%d", pull)
	if len(name)+len(suffix) > tenant.MaxName {
		sum := sha256.Sum256([]byte(name))
		name = name[:max(tenant.MaxName-len(suffix)-7, 1)] + "-" + hex.EncodeToString(sum[:3])
	}
	return name + suffix
}

func previewRun(p Preview, op plan.Operation) pipeline.Run {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return pipeline.Run{
		ID:     fmt.Sprintf("%s-%s-%s", p.Tenant.Name, p.Head[:min(len(p.Head), 12)], hex.EncodeToString(b[:])),
		Tenant: p.Tenant.Name, Commit: p.Head, Operation: op, Spec: p.Tenant, Infra: p.Infra, App: p.App, Status: pipeline.Queued,
	}
}

// lookUpLabel finds out who set the label, and whether it was set on this head.
func (l *Loop) lookUpLabel(ctx context.Context, r *review, label string) error {
	l.mu.Lock()
	told := l.labelled[r.pull.Number]
	l.mu.Unlock()
	if told.Head != r.pull.Head && r.asked.head == r.pull.Head && r.asked.pull.Equal(r.pull.Updated) {
		return nil // nothing happened since
	}
	set := told
	if told.Head != r.pull.Head { // else a signed delivery said so
		var err error
		if set, err = l.Forge.Labelled(ctx, r.pull.Number, label); err != nil {
			return err
		}
	}
	r.asked = labelWish{head: r.pull.Head, pull: r.pull.Updated, by: set.By}
	if !onHead(set, r) {
		r.asked.refused = fmt.Sprintf("the label %s was set before %s was pushed, or it cannot be told: take it off and set it again", label, short(r.pull.Head))
		return nil
	}
	err := l.allow(ctx, set.By, nil)
	if fault.Is(err, fault.Invalid) {
		r.asked.refused = err.Error()
		return nil
	}
	return err
}

// onHead reports whether a label was set while the pull request had its present
// head: a delivery says so, or the label is younger than our first sight of the
// head, or than the last push to the repository that the head is in.
func onHead(set Labelling, r *review) bool {
	switch {
	case set.Head != "":
		return set.Head == r.pull.Head
	case set.At.IsZero():
		return false
	}
	return !r.seen.IsZero() && set.At.After(r.seen) || !r.pull.Pushed.IsZero() && set.At.After(r.pull.Pushed)
}

func (l *Loop) shown(previews []Preview) []PreviewShown {
	var all []PreviewShown
	for _, p := range previews {
		all = append(all, PreviewShown{Tenant: p.Tenant.Name, URL: l.Links.Tenant(p.Tenant.Name), Head: p.Head, Expires: p.Expires})
	}
	return all
}

// refused adds why there is no preview of the newest head.
func refused(shown []PreviewShown, why string) []PreviewShown {
	if len(shown) == 0 {
		return []PreviewShown{{Refused: why}}
	}
	shown = slices.Clone(shown)
	for i := range shown {
		shown[i].Refused = why
	}
	return shown
}

// showPreviews notes in the report what became of a wish.
func (l *Loop) showPreviews(ctx context.Context, r *review, shown []PreviewShown) error {
	same := slices.EqualFunc(r.report.Previews, shown, func(a, b PreviewShown) bool {
		return a.Tenant == b.Tenant && a.URL == b.URL && a.Head == b.Head && a.Refused == b.Refused
	})
	if same || r.report.Pull.Head == "" {
		return nil
	}
	report := r.report
	report.Previews = shown
	report.Commented = report.Commented || len(shown) > 0
	return l.publish(ctx, r, report)
}
