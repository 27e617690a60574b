package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitopsd/gitopsd/internal/console"
	"github.com/gitopsd/gitopsd/internal/fault"
)

// defaultServer is where a daemon listens that was not told otherwise.
const defaultServer = "http://127.0.0.1:8090"

// apiFlags say which daemon to ask.
type apiFlags struct {
	Server string `help:"Address of the daemon's API; found in the data directory, else ${default_server}." env:"GITOPSD_SERVER" placeholder:"URL"`
	Data   string `help:"The daemon's data directory, looked for here and in the directories above." default:".gitopsd" env:"GITOPSD_DATA" placeholder:"DIR"`
}

// connect returns a client for the daemon; nothing is asked yet. The token is
// GITOPSD_TOKEN, or the one in the data directory.
func (f apiFlags) connect() (*client, error) {
	data := f.findData()
	server, err := f.server(data)
	if err != nil {
		return nil, err
	}
	token := os.Getenv("GITOPSD_TOKEN")
	if token == "" && data != "" {
		if token, err = readToken(filepath.Join(data, filepath.FromSlash(console.TokenFile))); err != nil {
			return nil, err
		}
	}
	return newClient(server, token), nil
}

// findData returns the data directory, or "" if there is none.
func (f apiFlags) findData() string {
	dir, err := filepath.Abs(f.Data)
	if err != nil {
		return ""
	}
	if isDir(dir) {
		return dir
	}
	if filepath.IsAbs(f.Data) || filepath.Base(f.Data) != f.Data {
		return "" // a path that was spelt out is not looked for elsewhere
	}
	for above := filepath.Dir(dir); above != filepath.Dir(above); {
		above = filepath.Dir(above)
		if candidate := filepath.Join(above, f.Data); isDir(candidate) {
			return candidate
		}
	}
	return ""
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (f apiFlags) server(data string) (string, error) {
	if f.Server != "" {
		u, err := url.Parse(f.Server)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return "", fault.Errorf(fault.Invalid, "%q is not the address of a server", f.Server).WithHint("give a URL, such as %s", defaultServer)
		}
		return strings.TrimRight(f.Server, "/"), nil
	}
	if data == "" {
		return defaultServer, nil
	}
	b, err := os.ReadFile(filepath.Join(data, console.EndpointFile))
	if errors.Is(err, fs.ErrNotExist) {
		return defaultServer, nil
	}
	if err != nil {
		return "", fmt.Errorf("find the daemon: %w", err)
	}
	var e console.Endpoint
	if err := json.Unmarshal(b, &e); err != nil {
		return "", fault.Errorf(fault.Invalid, "%s: %w", filepath.Join(data, console.EndpointFile), err)
	}
	if !loopback(e.URL) {
		// Anybody's directory may be entered: a file in it must not be able to
		// send a token of the environment elsewhere.
		return "", fault.Errorf(fault.Invalid, "%s names %q, which is not on this machine",
			filepath.Join(data, console.EndpointFile), e.URL).WithHint("if that is right, say so with: --server %s", e.URL)
	}
	return strings.TrimRight(e.URL, "/"), nil
}

func loopback(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

// readToken returns the token of a data directory, or "" if there is none.
func readToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case errors.Is(err, fs.ErrPermission):
		return "", fault.Errorf(fault.Invalid, "the token in %s may not be read", file).
			WithHint("be the user that runs the daemon, or set GITOPSD_TOKEN")
	case err != nil:
		return "", fmt.Errorf("read token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}
