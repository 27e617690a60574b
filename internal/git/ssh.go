package git

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/ssh"
	cryptossh "golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// dialTimeout bounds the connection to an SSH server.
const dialTimeout = 30 * time.Second

// sshAuth authenticates with the key, or with those of the agent. The host has
// to be known: none is ever trusted because it is met for the first time.
func sshAuth(cfg Config, ep *transport.Endpoint) (authenticator, error) {
	method := func(context.Context) (transport.AuthMethod, error) {
		check, err := hostCheck(cfg, ep)
		if err != nil {
			return nil, err
		}
		keys, err := sshKeys(cfg, ep, check)
		if err != nil {
			return nil, err
		}
		return &timed{keys}, nil
	}
	if cfg.SSHKey == "" {
		return method, nil // an agent may be started later
	}
	_, err := method(context.Background())
	return method, err
}

func sshKeys(cfg Config, ep *transport.Endpoint, check ssh.HostKeyCallbackHelper) (ssh.AuthMethod, error) {
	if cfg.SSHKey == "" {
		keys, err := ssh.NewSSHAgentAuth(ep.User)
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "SSH agent: %w", err).WithHint("name a key, or start an agent that has one")
		}
		keys.HostKeyCallbackHelper = check
		return keys, nil
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
	keys.HostKeyCallbackHelper = check
	return keys, nil
}

// hostCheck checks a server's key against the files of known hosts, as they are
// now. The server is asked for a key of a kind that they have of it.
func hostCheck(cfg Config, ep *transport.Endpoint) (ssh.HostKeyCallbackHelper, error) {
	var none ssh.HostKeyCallbackHelper
	var files []string
	name := strings.Join([]string{"~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"}, " or ")
	if env := os.Getenv("SSH_KNOWN_HOSTS"); env != "" {
		name = env
	}
	if cfg.KnownHosts != "" {
		name, files = cfg.KnownHosts, []string{cfg.KnownHosts}
	}
	db, err := ssh.NewKnownHostsDb(files...)
	if err != nil {
		return none, fault.Errorf(fault.Invalid, "known hosts %s: %w", name, err).
			WithHint("make the file with ssh-keyscan, and compare the fingerprints with those that the host's owner publishes")
	}
	check := db.HostKeyCallback()
	return ssh.HostKeyCallbackHelper{
		HostKeyCallback: func(host string, addr net.Addr, key cryptossh.PublicKey) error {
			return hostKeyError(name, knownhosts.Normalize(host), key, check(host, addr, key))
		},
		HostKeyAlgorithms: db.HostKeyAlgorithms(hostPort(ep)),
	}, nil
}

// hostPort is where the transport connects to, which the user's SSH
// configuration may change.
func hostPort(ep *transport.Endpoint) string {
	host, port := ep.Host, ep.Port
	if port <= 0 {
		port = ssh.DefaultPort
	}
	if real := ssh.DefaultSSHConfig.Get(ep.Host, "Hostname"); real != "" {
		host = real
		if p, err := strconv.Atoi(ssh.DefaultSSHConfig.Get(ep.Host, "Port")); err == nil {
			port = p
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// timed bounds the time that connecting takes.
type timed struct{ ssh.AuthMethod }

// ClientConfig is what the connection is made with.
func (d *timed) ClientConfig() (*cryptossh.ClientConfig, error) {
	c, err := d.AuthMethod.ClientConfig()
	if err != nil {
		return nil, err
	}
	c.Timeout = dialTimeout
	return c, nil
}

// hostKeyError says what is wrong with a host's key.
func hostKeyError(file, host string, key cryptossh.PublicKey, err error) error {
	if err == nil {
		return nil
	}
	shown := key.Type() + " " + cryptossh.FingerprintSHA256(key)
	var unlike *knownhosts.KeyError
	var revoked *knownhosts.RevokedError
	switch {
	case errors.As(err, &revoked):
		return fault.Errorf(fault.Invalid, "the key of host %s (%s) is revoked in %s", host, shown, file).
			WithHint("do not go on before you know who answers there")
	case errors.As(err, &unlike) && len(unlike.Want) == 0:
		return fault.Errorf(fault.Invalid, "host %s is not in %s; its key is %s", host, file, shown).
			WithHint("compare the fingerprint with the one that the host's owner publishes, and add the key to the file; it is not trusted unseen")
	case errors.As(err, &unlike):
		return fault.Errorf(fault.Invalid, "host %s shows another key (%s) than the one in %s", host, shown, whereOf(unlike, file)).
			WithHint("somebody may be in between; only if the host's owner announced a new key, replace the line")
	default:
		return fault.Errorf(fault.Invalid, "key of host %s (%s), checked by %s: %w", host, shown, file, err)
	}
}

func whereOf(e *knownhosts.KeyError, file string) string {
	for _, k := range e.Want {
		if k.Filename != "" {
			return fmt.Sprintf("%s, line %d", k.Filename, k.Line)
		}
	}
	return file
}
