package console

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// CommitURL returns where a commit's page is, "" if base, the console's public
// URL, is "".
func CommitURL(base, sha string) string { return link(base, "/commits/", sha) }

// PullURL returns where a pull request's page is, "" if base is "".
func PullURL(base string, number int) string { return link(base, "/pulls/", strconv.Itoa(number)) }

// TenantURL returns where a tenant's page is, "" if base is "".
func TenantURL(base, name string) string { return link(base, "/tenants/", name) }

func link(base, kind, name string) string {
	if base == "" {
		return ""
	}
	return strings.TrimSuffix(base, "/") + kind + url.PathEscape(name)
}

// parsePublic reads the public URL, whose pages are at its root; nil for "".
func parsePublic(public string) (*url.URL, error) {
	if public == "" {
		return nil, nil
	}
	u, err := url.Parse(public)
	switch {
	case err != nil:
		// The URL itself is not repeated: what is wrong may be a password in it.
		return nil, fault.Errorf(fault.Invalid, "the console's URL cannot be read as one").
			WithHint("give it as https://gitopsd.example.com")
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "", u.User != nil,
		u.RawQuery != "", u.Fragment != "", u.Path != "" && u.Path != "/":
		return nil, fault.Errorf(fault.Invalid, "the console's URL is not just a scheme and a host, but %s", u.Redacted()).
			WithHint("give it as https://gitopsd.example.com: the pages are at the root of a host of their own")
	}
	return u, nil
}
