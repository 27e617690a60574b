package iamtest

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// Source: IAM user guide, "IAM and AWS STS quotas"; white space does not count.
const (
	maxInline   = 10_240 // characters of what is written in a role, all together
	maxAttached = 6_144  // of a policy of its own
	maxPolicies = 10     // that are attached to a role
)

// TestSizes: the policies are as short as AWS wants them, in a cell whose names are
// as long as they can be.
func TestSizes(t *testing.T) {
	t.Parallel()
	c := newWorld("abcdefghijkl").Config
	c.Region = "ap-southeast-4"
	documents, of := policies(t, c)
	for role, names := range of {
		if len(names) > maxPolicies {
			t.Errorf("role %s has %d policies, of %d", role, len(names), maxPolicies)
		}
	}
	for name, list := range documents {
		var doc bytes.Buffer
		enc := json.NewEncoder(&doc)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(document(list)); err != nil {
			t.Fatal(err)
		}
		most := maxInline
		if strings.Contains(name, "-") {
			most = maxAttached
		}
		const chosen = 300 // by which IDs that AWS chooses may be longer than the mocks'
		if n := doc.Len() + chosen; n > most {
			t.Errorf("the policy %s has %d characters, of %d", name, n, most)
		} else {
			t.Logf("%s: %d of %d", name, n, most)
		}
	}
}
