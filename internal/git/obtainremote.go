package git

import (
	"context"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// batch is what one exchange is to bring.
type batch struct {
	targets []target
	byName  bool // ask for the commits themselves, which a server may refuse
}

// obtaining is one call of obtain.
type obtaining struct {
	r        *remote
	dst      *bare
	complete []plumbing.Hash
	failed   map[plumbing.Hash]error
	got      []plumbing.Hash
}

// obtain asks for all targets at once by what the server advertises: a target
// that is a tip, or else its ref's tip, which may contain it. What that does not
// bring is asked for by name. A batch that is refused, or is too much, is halved,
// so that one target does not cost the others.
func (r *remote) obtain(ctx context.Context, dst *bare, complete []plumbing.Hash, targets []target,
	failed map[plumbing.Hash]error,
) ([]plumbing.Hash, error) {
	o := &obtaining{r: r, dst: dst, complete: complete, failed: failed}
	for work := []batch{{targets: targets}}; len(work) > 0; {
		next := work[len(work)-1]
		work = work[:len(work)-1]
		more, err := o.bring(ctx, next)
		if err != nil {
			return o.got, r.classify(ctx, err)
		}
		work = append(work, more...)
	}
	return o.got, nil
}

// bring makes one exchange and returns what is to be tried after it.
func (o *obtaining) bring(ctx context.Context, b batch) ([]batch, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	session, adv, err := o.r.connect(ctx)
	if errors.Is(err, transport.ErrEmptyRemoteRepository) {
		for _, t := range b.targets {
			o.failed[t.hash] = t.lost(o.r.name)
		}
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = session.Close() }()
	cuts, err := cutsOf(o.dst, adv)
	if err != nil {
		return nil, err
	}
	ask := o.asks(ctx, b, adv, cuts)
	if len(ask) == 0 {
		return []batch{{b.targets, true}}, nil
	}
	quarantine, err := os.MkdirTemp(o.dst.dir, quarantinePrefix)
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(quarantine) }()
	haves := append(o.dst.haves(o.complete[0]), o.complete[1:]...)
	if err := o.r.download(ctx, session, adv, ask, haves, quarantine, o.r.obtained); err != nil {
		return o.halve(b, err)
	}
	return o.accept(ctx, b, cuts, quarantine)
}

// asks returns the tips to ask for, without those that are complete.
func (o *obtaining) asks(ctx context.Context, b batch, adv *packp.AdvRefs, cuts map[plumbing.Hash]bool) []plumbing.Hash {
	tips := map[plumbing.Hash]plumbing.Hash{} // what to ask for to get a commit
	for name, h := range adv.References {
		tips[h] = h
		if peeled, ok := adv.Peeled[name]; ok {
			tips[peeled] = h
		}
	}
	c := &copier{src: o.dst.db, dst: o.dst.db, shallow: cuts}
	set := map[plumbing.Hash]bool{}
	for _, t := range b.targets {
		tip, ok := tips[t.hash]
		switch {
		case ok:
		case b.byName:
			tip = t.hash
		default:
			tip = adv.References[t.ref]
			if tip.IsZero() || o.dst.db.has(tip) && c.reached(ctx, tip, o.complete) {
				continue // no ref, or one that was set back to what the mirror has
			}
		}
		set[tip] = true
	}
	return slices.Collect(maps.Keys(set))
}

// halve splits a batch for which a download failed because of one target, and
// gives up on a target that is alone.
func (o *obtaining) halve(b batch, err error) ([]batch, error) {
	refused := errors.Is(err, transport.ErrEmptyUploadPackRequest) || o.r.refused(err.Error())
	broken := strings.Contains(err.Error(), "repository corruption") // what git says
	if !refused && !broken && !errors.Is(err, errTooLarge) {
		return nil, err
	}
	n := len(b.targets)
	switch {
	case n > 1:
		return []batch{{b.targets[:n/2], b.byName}, {b.targets[n/2:], b.byName}}, nil
	case refused && !b.byName: // the ref moved since it was advertised
		return []batch{{b.targets, true}}, nil
	case refused:
		err = b.targets[0].lost(o.r.name)
	case broken:
		err = fault.Errorf(fault.Transient, "%s cannot send it: %s", o.r.name, o.r.redact(err.Error())).WithHint("run git fsck there")
	}
	o.failed[b.targets[0].hash] = err
	return nil, nil
}

// accept takes over what the targets need of the quarantine, and returns those
// that it did not bring.
func (o *obtaining) accept(ctx context.Context, b batch, cuts map[plumbing.Hash]bool, quarantine string) ([]batch, error) {
	n, err := packSize(quarantine)
	if err != nil {
		return nil, err
	}
	src := newStore(filepath.Join(quarantine, "objects"))
	defer src.Close()
	if n > maxCopied {
		if err := o.dst.movePack(quarantine); err != nil {
			return nil, err
		}
		src = o.dst.db
	}
	c := &copier{src: src, dst: o.dst.db, trees: o.r.trees, shallow: cuts, limit: math.MaxInt}
	var left []target
	for _, t := range b.targets {
		err := c.copy(ctx, t.hash, o.complete...)
		switch {
		case err == nil:
			o.got = append(o.got, t.hash)
		case errors.Is(err, errSource) && !b.byName:
			left = append(left, t)
		case errors.Is(err, errSource):
			o.failed[t.hash] = fault.Errorf(fault.Transient, "%s did not send all of commit %s: %w", o.r.name, t.hash, err)
		case fault.Is(err, fault.Invalid):
			o.failed[t.hash] = err
		default:
			return nil, err
		}
	}
	if len(left) == 0 {
		return nil, nil
	}
	return []batch{{left, true}}, nil
}
