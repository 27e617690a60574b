package sync_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/plan"
	"github.com/gitopsd/gitopsd/internal/policy"
	"github.com/gitopsd/gitopsd/internal/review"
	"github.com/gitopsd/gitopsd/internal/sync"
)

// signatures reads those of the mirror's commits.
type signatures struct{ source }

func (s signatures) Signed(_ context.Context, sha string) (sync.SignedCommit, error) {
	payload, signature, err := s.Mirror.Signed(sha)
	return sync.SignedCommit{SHA: sha, Payload: payload, Signature: signature}, err
}

// governed has the loop go by the policy of the repository.
func (w *world) governed() {
	w.t.Helper()
	w.engine = &engine{}
	w.loop = sync.New(sync.Config{
		Planner: sync.Planner{
			Tree: source{w.mirror}, Apps: designs{}, Dir: "tenants", Domain: "localhost", Brake: plan.DefaultBrake,
			Policies: policy.New(w.mirror.FS, w.mirror.TreeID, plan.DefaultBrake),
		},
		Source: source{w.mirror}, Signatures: signatures{source{w.mirror}}, Ledger: w.ledger, Engine: w.engine,
		Reporter: w.report, Branch: "main", Runs: 20, Log: slog.New(slog.DiscardHandler),
	})
	w.must(w.loop.Load(w.ctx))
}

// policy writes gitopsd.yaml.
func (w *world) policy(lines ...string) {
	w.t.Helper()
	text := "apiVersion: gitopsd.dev/v1\nkind: Policy\nspec:\n"
	for _, line := range lines {
		text += "  " + line + "\n"
	}
	w.must(os.WriteFile(filepath.Join(w.repo, "gitopsd.yaml"), []byte(text), 0o644))
}

// key makes a key to sign with and returns its public half.
func (w *world) key(name string) string {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), name)
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file).CombinedOutput(); err != nil {
		w.t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	w.git("config", "gpg.format", "ssh")
	w.git("config", "user.signingkey", file)
	public, err := os.ReadFile(file + ".pub")
	w.must(err)
	return strings.TrimSpace(string(public))
}

func (w *world) signed(message string) string {
	w.t.Helper()
	w.git("add", "-A")
	w.git("commit", "-q", "-S", "--allow-empty", "-m", message)
	return w.git("rev-parse", "HEAD")
}

// six are enough for the brake.
func (w *world) six() {
	for i := range 6 {
		w.put(fmt.Sprintf("t%d", i), "hello")
	}
}

func (w *world) dropFour() {
	for i := range 4 {
		w.drop(fmt.Sprintf("t%d", i))
	}
}

var fourGo = []string{"deprovision t0", "deprovision t1", "deprovision t2", "deprovision t3"}

func TestNoCommitLoosensItsOwnBrake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.governed()
	w.six()
	w.commit("Add six")
	w.done()

	w.policy("brake: {tenants: 100, percent: 100}")
	w.dropFour()
	greedy := w.commit("Delete four, and let the brake go")
	w.turn()
	w.wantStarted()
	w.wantStatus(greedy, sync.StatePending, "would delete 4 of 6")

	w.git("reset", "-q", "--hard", "HEAD~1")
	w.policy("brake: {tenants: 100, percent: 100}")
	w.commit("Let the brake go")
	w.done()
	w.dropFour()
	w.commit("Delete four")
	w.turn()
	w.wantStarted(fourGo...)
}

// A directory that is given up deletes what is in it.
func TestTenantsMove(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.governed()
	w.six()
	w.commit("Add six")
	w.done()
	w.policy("tenants: customers", "brake: {tenants: 100, percent: 100}")
	away := w.commit("Look elsewhere")
	w.turn()
	w.wantStarted()
	w.wantStatus(away, sync.StatePending, "no tenant file at all")
	w.git("mv", "tenants", "customers")
	moved := w.commit("Move the files, too")
	w.done()
	w.wantStarted()
	w.wantStatus(moved, sync.StateSuccess, "unchanged: done")
}

func TestWhoSignsIsWhatWasAcceptedBefore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.governed()
	ann := w.key("ann")
	required := "signatures: {required: true, keys: [{name: %s, key: %q}]}"
	w.policy(fmt.Sprintf(required, "ann", ann))
	w.put("a", "hello")
	unsigned := w.commit("Begin unsigned")
	w.turn()
	w.wantStatus(unsigned, sync.StatePending, "is not signed")
	w.signed("Begin signed")
	w.done()

	w.put("a", "two")
	w.commit("Unsigned")
	w.put("a", "three")
	above := w.signed("Signed, on an unsigned one")
	w.turn()
	w.wantStarted()
	w.wantStatus(above, sync.StatePending, "is not signed")
	w.git("reset", "-q", "--hard", "HEAD~2")

	eve := w.key("eve")
	w.policy(fmt.Sprintf(required, "eve", eve))
	own := w.signed("Bring my own key")
	w.turn()
	w.wantStarted()
	w.wantStatus(own, sync.StatePending, "is signed by the SSH key")
	w.git("reset", "-q", "--hard", "HEAD~1")
	w.must(os.Remove(filepath.Join(w.repo, "gitopsd.yaml")))
	without := w.commit("Ask for no signatures")
	w.turn()
	w.wantStarted()
	w.wantStatus(without, sync.StatePending, "is not signed")

	w.must(w.ledger.Approve(w.ctx, without, "ann"))
	w.turn()
	if head := w.loop.Health().Head; head != without {
		t.Errorf("the accepted commit is %s, want the approved one", head)
	}
}

// Of two signatures it cannot be told which one counts: it is held, not retried.
func TestTwoSignaturesAreNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.governed()
	w.policy(fmt.Sprintf("signatures: {required: true, keys: [{name: ann, key: %q}]}", w.key("ann")))
	w.put("a", "hello")
	w.signed("Begin")
	w.done()
	w.put("a", "two")
	w.signed("Edit")
	object := w.git("cat-file", "commit", "HEAD") + "\n"
	from, to := strings.Index(object, "gpgsig "), strings.Index(object, " -----END SSH SIGNATURE-----\n")
	end := to + len(" -----END SSH SIGNATURE-----\n")
	file := filepath.Join(t.TempDir(), "commit")
	w.must(os.WriteFile(file, []byte(object[:end]+object[from:]), 0o644))
	twice := w.git("hash-object", "-t", "commit", "-w", "--literally", file)
	w.git("update-ref", "refs/heads/main", twice)
	w.turn()
	w.wantStarted()
	w.wantStatus(twice, sync.StatePending, "more than one signature")
}

// Whoever approves an unsigned commit is told of all that it deletes, and one
// who approves deletions has not approved others.
func TestAnApprovalIsOfAllThatIsSaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.governed()
	w.policy(fmt.Sprintf("signatures: {required: true, keys: [{name: ann, key: %q}]}", w.key("ann")))
	w.six()
	w.signed("Add six")
	w.done()
	w.dropFour()
	w.git("add", "-A")
	four := w.commit("Delete four, unsigned")
	w.turn()
	w.wantStarted()
	hold := w.progress(four).Hold
	if hold == nil || !strings.Contains(hold.Message, "would delete 4 of 6") || !strings.Contains(hold.Message, "is not signed") {
		t.Fatalf("hold is %+v", hold)
	}
	// Approved in the pull request, it is still not signed.
	_, p, err := w.loop.Preview(w.ctx, four)
	w.must(err)
	w.must(w.ledger.ApprovePlan(w.ctx, review.PlanApproval{Fingerprint: p.Fingerprint(), Pull: 7, Head: four, By: "ann"}))
	w.turn()
	w.wantStarted()
	w.must(w.ledger.Approve(w.ctx, four, "ann"))
	w.turn()
	w.wantStarted(fourGo...)
}

// A rewritten history has no brake from before to be held by: what it deletes is said.
func TestRewrittenHistorySaysWhatItDeletes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.governed()
	w.policy("brake: {tenants: 100, percent: 100}")
	w.commit("Begin")
	w.policy("brake: {tenants: 1, percent: 1}")
	w.six()
	w.commit("Add six")
	w.done()
	w.git("reset", "-q", "--hard", "HEAD~1")
	w.put("t5", "hello")
	rewritten := w.commit("Another history, with one of them")
	w.turn()
	w.wantStarted()
	hold := w.progress(rewritten).Hold
	if hold == nil || hold.Reason != sync.HoldRewritten || !strings.Contains(hold.Message, "it deletes 5: t0, t1, t2, t3, t4") {
		t.Errorf("hold is %+v", hold)
	}
}

func TestApprovalOfAPlan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.governed()
	w.six()
	w.commit("Add six")
	w.done()
	w.dropFour()
	four := w.commit("Delete four")
	w.git("branch", "four")
	_, err := w.mirror.Fetch(w.ctx)
	w.must(err)
	_, p, err := w.loop.Preview(w.ctx, four)
	w.must(err)
	stale := review.PlanApproval{Fingerprint: p.Fingerprint(), Pull: 7, Head: four, By: "ann", At: time.Now().Add(-sync.ApprovalAge - time.Minute)}
	w.must(w.ledger.ApprovePlan(w.ctx, stale))
	w.turn()
	w.wantStarted() // it is too old
	w.wantStatus(four, sync.StatePending, "would delete 4 of 6")

	// One that comes while the commit is held counts, too.
	w.must(w.ledger.ApprovePlan(w.ctx, review.PlanApproval{Fingerprint: p.Fingerprint(), Pull: 7, Head: four, By: "ann"}))
	w.must(w.loop.Turn(w.ctx, false))
	w.wantStarted(fourGo...)
	w.finish()
	for len(w.engine.started()) > 0 {
		w.finish()
	}

	// Used up, it lets no second deletion of the same tenants through.
	w.git("revert", "--no-edit", four)
	w.done()
	w.git("revert", "--no-edit", "HEAD")
	again := w.git("rev-parse", "HEAD")
	w.turn()
	w.wantStarted()
	w.wantStatus(again, sync.StatePending, "would delete 4 of 6")
}

func TestInvalidPolicyIsHeldUntilItIsCorrected(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.governed()
	w.put("a", "hello")
	w.commit("Add a")
	w.done()
	w.policy("branhc: main")
	w.put("a", "two")
	broken := w.commit("A typo in the policy")
	w.turn()
	w.wantStarted()
	w.wantStatus(broken, sync.StatePending, "the policy is invalid: gitopsd.yaml:4:")
	w.must(w.ledger.Approve(w.ctx, broken, "ann"))
	w.turn()
	w.wantStarted() // no approval makes it say anything
	w.policy("branch: release")
	other := w.commit("For another branch")
	w.turn()
	w.wantStarted()
	w.wantStatus(other, sync.StatePending, "the policy is for branch release")
	w.policy("branch: main")
	w.commit("Corrected")
	w.turn()
	w.wantStarted("deploy a")
}

func TestPolicyRefusesOneTenantOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.governed()
	w.put("a", "hello")
	w.put("b", "hello")
	w.commit("Add two")
	w.done()
	w.policy("allow: {compute: {memory: 600}}")
	w.put("a", "hello", "compute: {memory: 1024}")
	w.put("b", "two")
	both := w.commit("Grow a beyond what is allowed, edit b")
	w.turn()
	w.wantStarted("deploy b")
	w.finish()
	w.wantStatus(both, sync.StateFailure, "a: policy: spec.compute.memory is 1024")
	w.put("a", "hello", "compute: {memory: 600}")
	w.commit("Grow a less")
	w.turn()
	w.wantStarted("update a")
}

// A policy that was accepted and that a newer gitopsd does not take any more
// holds nothing up but what asks it.
func TestAcceptedPolicyThatIsNotTakenAnyMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.put("a", "hello", "deletion: {grace: 1h}")
	w.put("b", "hello")
	w.policy("branhc: main")
	w.commit("Begin, where no policy is asked")
	w.done()
	w.drop("a")
	w.commit("Delete a")
	w.done()
	w.governed()
	if _, err := w.loop.Settings(w.ctx, w.loop.Health().Head); !fault.Is(err, fault.Invalid) {
		t.Fatalf("settings: %v, want Invalid", err)
	}
	w.policy("branch: main")
	w.put("b", "two")
	fixed := w.commit("Correct the policy")
	w.turn()
	w.wantStarted("deploy b")
	w.finish()
	w.wantStatus(fixed, sync.StateSuccess, "done")
}
