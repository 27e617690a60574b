package agent

import (
	"net/url"
	"slices"
	"strings"
)

// leastSecret is the shortest value that is masked, in bytes: to mask a shorter
// one would garble what has nothing to do with it, and hide nothing.
const leastSecret = 6

// maskOf returns what takes an environment's values, and the passwords of URLs
// among them, out of a text: what an app prints reaches logs and statuses.
func maskOf(values map[string]string) *strings.Replacer {
	var secrets []string
	add := func(s string) {
		if len(s) >= leastSecret {
			secrets = append(secrets, s)
		}
	}
	for name, value := range values {
		if name == "REDIS_PREFIX" {
			continue // no secret, and in every log of a cache
		}
		for line := range strings.SplitSeq(value, "\n") { // output is masked line by line
			add(strings.TrimSpace(line))
		}
		if u, err := url.Parse(value); err == nil && u.User != nil {
			if password, ok := u.User.Password(); ok {
				add(password)
				add(url.QueryEscape(password))
				add(url.PathEscape(password))
			}
		}
	}
	// At one place in a text the first match counts: the longest.
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(secrets))
	for _, s := range slices.Compact(secrets) {
		pairs = append(pairs, s, "***")
	}
	return strings.NewReplacer(pairs...)
}
