package console

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// Where the command line finds the API, below the data directory.
const (
	TokenFile    = "secrets/api-token" // the token, mode 0600
	EndpointFile = "api.json"          // an Endpoint
)

// Endpoint says where the API is.
type Endpoint struct {
	URL string `json:"url"`
}

func (s *Server) tokenFile() string {
	return filepath.Join(s.config.Data, filepath.FromSlash(TokenFile))
}

// loadToken reads the token, or makes it once.
func loadToken(file string) (string, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return makeToken(file)
	}
	if err != nil {
		return "", fmt.Errorf("read token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if len(token) < 32 {
		return "", fault.Errorf(fault.Invalid, "the token in %s is too short to be one", file).
			WithHint("delete the file: a new token is made at the next start")
	}
	return token, nil
}

func makeToken(file string) (string, error) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	token := hex.EncodeToString(b[:])
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return "", fmt.Errorf("make directory of secrets: %w", err)
	}
	return token, replaceFile(file, []byte(token+"\n"), 0o600)
}

// urlOf returns the URL of a server that listens on addr. One that listens on
// all addresses is reached by the loopback one.
func urlOf(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		addr = net.JoinHostPort("127.0.0.1", port)
	}
	return "http://" + addr
}

// writeEndpoint tells the command line where the API is.
func writeEndpoint(data, url string) error {
	b, err := json.Marshal(Endpoint{URL: url})
	if err != nil {
		return err
	}
	return replaceFile(filepath.Join(data, EndpointFile), append(b, '\n'), 0o644)
}

// replaceFile makes a file appear with all its content or not at all.
func replaceFile(file string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already once renamed
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", file, err)
	}
	return nil
}
