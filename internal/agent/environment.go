package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/gitopsd/gitopsd/internal/release"
)

// searchPath is the PATH of every app.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// settings is what the platform gives an app: the content of the environment file.
type settings struct {
	values map[string]string
	digest string // equal for equal values
}

// settings reads the environment file; without one, a container's values count.
func (c Config) settings() (settings, error) {
	values := c.values
	if path := c.Environment; path != "" {
		b, err := os.ReadFile(path)
		if err != nil {
			return settings{}, fmt.Errorf("read environment file: %w", err)
		}
		values = nil
		if err := json.Unmarshal(b, &values); err != nil {
			// The decoder's own message could quote a secret.
			return settings{}, fmt.Errorf("read environment file %s: not a JSON object of strings", path)
		}
	}
	b, err := json.Marshal(values) // sorted by key
	if err != nil {
		return settings{}, err
	}
	sum := sha256.Sum256(b)
	return settings{values: values, digest: hex.EncodeToString(sum[:])}, nil
}

// environment returns all an app gets, as name=value. What the platform gives
// wins over the environment file, and that over the release's own values.
// A listed secret without a value is an error.
func environment(m release.Manifest, file settings, given map[string]string) ([]string, error) {
	all := map[string]string{}
	maps.Copy(all, m.Env)
	maps.Copy(all, file.values)
	maps.Copy(all, given)
	for _, name := range m.Secrets {
		if _, ok := file.values[name]; !ok {
			return nil, fmt.Errorf("secret %s has no value", name)
		}
	}
	env := make([]string, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(all[name], 0) {
			return nil, fmt.Errorf("environment variable %q cannot be passed to a process", name)
		}
		env = append(env, name+"="+all[name])
	}
	return env, nil
}
