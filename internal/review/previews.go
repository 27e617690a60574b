package review

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/pipeline"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/sync"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

// keepPreviews has the previews be what labels ask for: at most one a tenant and
// pull request, of a head that someone who may has asked for.
func (l *Loop) keepPreviews(ctx context.Context) error {
	found, err := l.Ledger.Previews(ctx)
	if err != nil {
		return err
	}
	settings, err := l.accepted(ctx)
	valid := !fault.Is(err, fault.Invalid) // else it allows nothing new, and is told elsewhere
	if err != nil && valid {
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
		kept, err := l.endStale(ctx, l.pulls[number], previews, settings, valid)
		if err != nil {
			return err
		}
		live -= len(previews) - len(kept)
		byPull[number] = kept
	}
	if !valid {
		return nil
	}
	room := settings.Preview.Max - live
	return each(ctx, slices.Sorted(maps.Keys(l.pulls)), func(number int) error {
		if err := l.keepPreview(ctx, l.pulls[number], byPull[number], settings, &room); err != nil {
			return fmt.Errorf("preview of pull request %d: %w", number, err)
		}
		return nil
	})
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
// r is nil for a pull request that is not open.
func (l *Loop) endStale(ctx context.Context, r *review, previews []Preview, settings sync.Settings, valid bool) (kept []Preview, err error) {
	for _, p := range previews {
		old := time.Now().After(p.Expires)
		keep := r != nil && !old
		if keep && r.known && valid { // else what is known of its labels is from before, or not what counts
			keep = hasLabel(r.pull, settings.Preview.Label) && settings.Preview.Max > 0
		}
		if keep {
			kept = append(kept, p)
			continue
		}
		if err := l.end(ctx, p); err != nil {
			return nil, err
		}
		if r != nil && old {
			if err := l.unlabel(ctx, r, settings.Preview.Label, p); err != nil {
				return nil, err
			}
		}
	}
	return kept, nil
}

func (l *Loop) end(ctx context.Context, p Preview) error {
	if err := l.Ledger.EndPreview(ctx, p.Tenant.Name, previewRun(p, plan.Deprovision)); err != nil {
		return err
	}
	l.Log.Info("preview ends", "tenant", p.Tenant.Name, "pull", p.Pull)
	l.Planner.Wake()
	return nil
}

// unlabel takes the label off that asked for a preview which is too old by now.
func (l *Loop) unlabel(ctx context.Context, r *review, label string, p Preview) error {
	if label == "" {
		return nil
	}
	pull := r.pull.Number
	n, err := notice(NoticeUnlabel, Unlabel{Pull: pull, Label: label}, fmt.Sprint(pull), p.Head, fmt.Sprint(p.Expires.Unix()))
	if err != nil {
		return err
	}
	signal(l.deliver)
	return l.Ledger.PutNotices(ctx, []Notice{n})
}

// keepPreview makes a pull request's previews, or says why not.
func (l *Loop) keepPreview(ctx context.Context, r *review, have []Preview, settings sync.Settings, room *int) error {
	if !r.known {
		return nil
	}
	if !hasLabel(r.pull, settings.Preview.Label) {
		l.forget(r, settings.Preview.Label)
		return l.showPreviews(ctx, r, nil)
	}
	if r.report.Pull.Head != r.pull.Head || r.gone || !r.made {
		return nil // its plan comes first
	}
	wanted := previewable(r.report)
	missing := slices.DeleteFunc(slices.Clone(wanted), func(s StepShown) bool {
		return slices.ContainsFunc(have, func(p Preview) bool { return p.Of == s.Tenant && p.Head == r.pull.Head })
	})
	older := slices.DeleteFunc(slices.Clone(have), func(p Preview) bool { return p.Head == r.pull.Head })
	shown := l.shown(have)
	if len(have) > 0 && len(missing) == 0 && len(older) == 0 {
		return l.showPreviews(ctx, r, shown)
	}
	if known, err := l.lookUpLabel(ctx, r, settings.Preview); err != nil || !known {
		return err
	}
	why := r.asked.refused
	switch {
	case why != "":
	case time.Since(r.asked.at) > settings.Preview.MaxAge:
		why = fmt.Sprintf("the label %s was set more than %s ago: take it off and set it again", settings.Preview.Label, settings.Preview.MaxAge)
	case r.report.Failure != nil:
		why = "the plan failed"
	}
	if n := added(missing, have); why == "" && n > *room {
		why = fmt.Sprintf("there is room for %d at a time", settings.Preview.Max)
	} else if why == "" {
		*room -= n
	}
	if why != "" {
		return l.showPreviews(ctx, r, refused(shown, why))
	}
	made, err := l.makePreviews(ctx, r, missing, settings)
	if err != nil && !fault.Is(err, fault.Invalid) && !fault.Is(err, fault.NotFound) {
		return err
	}
	return l.replaced(ctx, r, slices.Concat(have, made), err)
}

// added counts the previews that take room of their own.
func added(missing []StepShown, have []Preview) int {
	n := 0
	for _, s := range missing {
		if !slices.ContainsFunc(have, func(p Preview) bool { return p.Of == s.Tenant }) {
			n++
		}
	}
	return n
}

// replaced ends the previews of an older head that have no newer one in their
// place, and says what there is; failed is why some could not be made.
func (l *Loop) replaced(ctx context.Context, r *review, all []Preview, failed error) error {
	var newest []Preview
	for _, p := range all {
		if p.Head == r.pull.Head {
			newest = append(newest, p)
		}
	}
	for _, p := range all {
		if p.Head == r.pull.Head || slices.ContainsFunc(newest, func(n Preview) bool { return n.Tenant.Name == p.Tenant.Name }) {
			continue
		}
		if err := l.end(ctx, p); err != nil {
			return err
		}
	}
	shown := l.shown(newest)
	switch {
	case failed != nil:
		shown = refused(shown, failed.Error())
	case len(newest) == 0:
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
			Infra: d.Infra, App: d.App, Sources: d.Sources, Expires: r.asked.at.Add(settings.Preview.MaxAge).UTC(),
		}
		if err := l.Ledger.PutPreview(ctx, p, previewRun(p, plan.Provision)); err != nil {
			return made, err
		}
		l.Log.Info("preview asked for", "tenant", t.Name, "pull", p.Pull, "commit", p.Head, "who", p.By)
		l.Planner.Wake()
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
	if p.Database.Enabled && p.App.Path != "" && rules.Seed != "" { // a design has no directory, and other repositories are not ours
		p.Database.Seed = path.Join(p.App.Path, rules.Seed)
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
