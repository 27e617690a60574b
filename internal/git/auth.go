package git

import (
	"net"
	"slices"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/http"
	"github.com/go-git/go-git/v5/plumbing/transport/ssh"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// tokenUser is the user name that forges accept with a token as the password.
const tokenUser = "x-access-token"

// authFor returns how to authenticate at the endpoint, or nil for not at all.
func authFor(cfg Config, ep *transport.Endpoint) (transport.AuthMethod, error) {
	switch ep.Protocol {
	case "https", "http":
		return tokenAuth(cfg, ep)
	case "ssh":
		return sshAuth(cfg, ep)
	case "file":
		return nil, nil
	default:
		return nil, fault.Errorf(fault.Invalid, "repository %s: protocol %s is not supported", redactURL(cfg.URL), ep.Protocol).
			WithHint("use https, ssh or a path")
	}
}

func tokenAuth(cfg Config, ep *transport.Endpoint) (transport.AuthMethod, error) {
	user, password := ep.User, ep.Password
	switch {
	case cfg.Token != "":
		user, password = tokenUser, cfg.Token
	case password == "" && user == "":
		return nil, nil
	case password == "": // https://<token>@host/…
		user, password = tokenUser, user
	}
	if ip := net.ParseIP(ep.Host); ep.Protocol == "http" && ep.Host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fault.Errorf(fault.Invalid, "repository %s: credentials are not sent over http", redactURL(cfg.URL)).
			WithHint("use https")
	}
	return &http.BasicAuth{Username: user, Password: password}, nil
}

func sshAuth(cfg Config, ep *transport.Endpoint) (transport.AuthMethod, error) {
	if cfg.SSHKey == "" {
		return nil, nil // the agent's keys, and the user's known_hosts
	}
	user := ep.User
	if user == "" {
		user = ssh.DefaultUsername
	}
	keys, err := ssh.NewPublicKeysFromFile(user, cfg.SSHKey, "")
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "SSH key %s: %w", cfg.SSHKey, err).
			WithHint("the key must be readable and have no passphrase")
	}
	if cfg.KnownHosts != "" {
		check, err := ssh.NewKnownHostsCallback(cfg.KnownHosts)
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "known hosts %s: %w", cfg.KnownHosts, err).
				WithHint("make it with ssh-keyscan and compare the fingerprints")
		}
		keys.HostKeyCallback = check
	}
	return keys, nil
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}
