package git

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// tokenUser is the user name that forges accept with a token as the password.
const tokenUser = "x-access-token"

// authenticator returns how to authenticate in one exchange, or nil for not at
// all. It is asked anew each time: a token expires, and a file of known hosts is
// corrected while the daemon runs.
type authenticator func(ctx context.Context) (transport.AuthMethod, error)

// authFor checks what can be checked before the first exchange. Each token that
// a source of them gives is passed to issued before it is used.
func authFor(cfg Config, ep *transport.Endpoint, issued func(string)) (authenticator, error) {
	if cfg.Token != "" && cfg.TokenSource != nil {
		return nil, fault.Errorf(fault.Invalid, "repository %s has a token and a source of tokens: one of the two", redactURL(cfg.URL))
	}
	switch ep.Protocol {
	case "https", "http":
		return tokenAuth(cfg, ep, issued)
	case "ssh":
		return sshAuth(cfg, ep)
	case "file":
		return func(context.Context) (transport.AuthMethod, error) { return nil, nil }, nil
	default:
		return nil, fault.Errorf(fault.Invalid, "repository %s: protocol %s is not supported", redactURL(cfg.URL), ep.Protocol).
			WithHint("use https, ssh or a path")
	}
}

func tokenAuth(cfg Config, ep *transport.Endpoint, issued func(string)) (authenticator, error) {
	user, password := ep.User, ep.Password
	switch {
	case cfg.Token != "":
		user, password = tokenUser, cfg.Token
	case cfg.TokenSource != nil:
		user = tokenUser
	case password == "" && user == "":
		return func(context.Context) (transport.AuthMethod, error) { return nil, nil }, nil
	case password == "": // https://<token>@host/…
		user, password = tokenUser, user
	}
	if ip := net.ParseIP(ep.Host); ep.Protocol == "http" && ep.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fault.Errorf(fault.Invalid, "repository %s: credentials are not sent over http", redactURL(cfg.URL)).
			WithHint("use https")
	}
	return func(ctx context.Context) (transport.AuthMethod, error) {
		password := password
		if cfg.TokenSource != nil {
			token, err := cfg.TokenSource(ctx)
			if err != nil {
				return nil, tokenError(cfg, err)
			}
			issued(token)
			password = token
		}
		return &http.BasicAuth{Username: user, Password: password}, nil
	}, nil
}

// tokenError gives a failure to get a token a kind, if it has none.
func tokenError(cfg Config, err error) error {
	kind := fault.Transient
	var known *fault.Error
	if errors.As(err, &known) {
		kind = known.Kind
	}
	e := fault.Errorf(kind, "token for %s: %w", redactURL(cfg.URL), err)
	if known != nil && known.Hint != "" {
		e = e.WithHint("%s", known.Hint)
	}
	return e
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}
