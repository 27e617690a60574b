package review_test

import "testing"

// What would hold everything once it is merged is refused before.
func TestPolicyForAnotherBranch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, []string{"base"})
	_, head := w.open("policy", map[string]string{
		"gitopsd.yaml": "apiVersion: gitopsd.dev/v1\nkind: Policy\nspec: {branch: release}\n",
	})
	w.look()
	w.want(head, "failure", "for the branch release")
}
