package review

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// labelWish is what is known of the label on a head: who set it when, and
// whether that counts.
type labelWish struct {
	head    string    // that it was looked up for
	updated time.Time // the pull request was, then
	by      string
	at      time.Time // by the forge's clock
	refused string    // why it does not count
}

// hasLabel reports whether a pull request has a label. GitHub tells labels apart
// by more than upper and lower case.
func hasLabel(p Pull, label string) bool {
	return slices.ContainsFunc(p.Labels, func(l string) bool { return strings.EqualFold(l, label) })
}

// lookUpLabel finds out who set the label, and whether it was set on this head.
// It is false while that cannot be told yet.
func (l *Loop) lookUpLabel(ctx context.Context, r *review, rules sync.PreviewRules) (known bool, err error) {
	if set := l.told(r.pull.Number, rules.Label); set.Head == r.pull.Head {
		wish, err := l.judge(ctx, r, set, rules)
		if err != nil || wish.refused == "" {
			r.asked = wish
			return err == nil, err
		}
	}
	if r.asked.head == r.pull.Head && r.asked.updated.Equal(r.pull.Updated) {
		return true, nil // nothing happened since
	}
	set, err := l.Forge.Labelled(ctx, r.pull.Number, rules.Label)
	if err != nil {
		return false, asked(err)
	}
	if set.At.After(r.pull.Seen) {
		return false, nil // its head may have been another by then: the next look tells
	}
	wish, err := l.judge(ctx, r, set, rules)
	r.asked = wish
	return err == nil, err
}

// judge says whether the act of setting the label counts. After an error that is
// not known, and nothing is to be remembered.
func (l *Loop) judge(ctx context.Context, r *review, set Labelling, rules sync.PreviewRules) (labelWish, error) {
	wish := labelWish{head: r.pull.Head, updated: r.pull.Updated, by: set.By, at: set.At}
	switch {
	case !onHead(set, r):
		wish.refused = fmt.Sprintf("the label %s was set before %s was pushed, or it cannot be told: take it off and set it again", rules.Label, short(r.pull.Head))
	default:
		err := l.allow(ctx, set.By, nil)
		if err != nil && !fault.Is(err, fault.Invalid) {
			return labelWish{}, err
		}
		if err != nil {
			wish.refused = err.Error()
		}
	}
	return wish, nil
}

// onHead reports whether a label was set while the pull request had its present
// head: a delivery says so, or the label is younger than the last push to the
// repository that the head is in.
//
// In the repository itself other branches are pushed to all the time. There the
// label may also be younger than our first sight of the head: whoever could have
// pushed something else for a while may set the label, too. The author of a fork
// may not, and could have somebody label one head, and put another back.
func onHead(set Labelling, r *review) bool {
	switch {
	case set.Head != "":
		return set.Head == r.pull.Head
	case set.At.IsZero():
		return false
	case !r.pull.Pushed.IsZero() && set.At.After(r.pull.Pushed):
		return true
	}
	still := !r.pull.Fork || r.pull.Pushed.IsZero() // the fork is deleted
	return still && !r.seen.IsZero() && set.At.After(r.seen)
}

// ofLabel names a label of a pull request.
type ofLabel struct {
	pull  int
	label string // in lower case
}

// mostTold bounds what is remembered of signed deliveries about labels.
const mostTold = 10_000

// hear remembers what a signed delivery says of a label: the head at that moment
// is to be learned in no other way.
func (l *Loop) hear(h Hint) {
	if h.Kind != HintPull || h.Label == "" {
		return
	}
	of := ofLabel{h.Pull, strings.ToLower(h.Label)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.labelled) > mostTold {
		clear(l.labelled) // the forge can be asked
	}
	delete(l.labelled, of)
	if h.Labelled != nil && h.Labelled.Head != "" {
		l.labelled[of] = *h.Labelled
	}
}

func (l *Loop) told(pull int, label string) Labelling {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.labelled[ofLabel{pull, strings.ToLower(label)}]
}

// forget drops what is known of a label that is not there any more. What was
// told after the pull request was looked at stays.
func (l *Loop) forget(r *review, label string) {
	r.asked = labelWish{}
	of := ofLabel{r.pull.Number, strings.ToLower(label)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if set, ok := l.labelled[of]; ok && r.pull.Updated.After(set.At) {
		delete(l.labelled, of)
	}
}
