package local

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"

	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/durable"
)

// keys are the platform's own secrets, made once.
type keys struct {
	Master         string `json:"master"` // tenants' keys derive from it
	PostgresSuper  string `json:"postgresSuper"`
	PostgresMaster string `json:"postgresMaster"`
	RedisAdmin     string `json:"redisAdmin"`
	Edge           string `json:"edge"`
}

// newSecret returns 256 random bits, as letters and digits.
func newSecret() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// loadKeys returns the platform's keys, and has the edge's in its own file.
func loadKeys(l layout) (keys, error) {
	var k keys
	path := l.path("secrets", "keys.json")
	there, err := durable.ReadJSON(path, &k)
	if err != nil {
		return k, err
	}
	if !there {
		k = keys{newSecret(), newSecret(), newSecret(), newSecret(), newSecret()}
		if err := durable.WriteJSON(path, k, 0o600, durable.Owner{}); err != nil {
			return k, err
		}
	}
	return k, durable.Write(l.path("secrets", "edge.key"), []byte(k.Edge+"\n"), 0o600, durable.Owner{})
}

// derive returns a tenant's key for a use.
func (k keys) derive(use, tenant string) string {
	mac := hmac.New(sha256.New, []byte(k.Master))
	mac.Write([]byte(use + ":" + tenant))
	return hex.EncodeToString(mac.Sum(nil))
}

// tenantSecrets are a tenant's credentials, and the values of its secrets.
type tenantSecrets struct {
	Database string            `json:"database,omitempty"`
	Cache    string            `json:"cache,omitempty"`
	Values   map[string]string `json:"values,omitempty"`
}

func (d *Driver) loadSecrets(tenant string) (tenantSecrets, error) {
	var s tenantSecrets
	if err := checkTenant(tenant); err != nil {
		return s, err
	}
	_, err := durable.ReadJSON(d.secretsFile(tenant), &s)
	return s, err
}

func (d *Driver) saveSecrets(tenant string, s tenantSecrets) error {
	return durable.WriteJSON(d.secretsFile(tenant), s, 0o600, durable.Owner{})
}

// password returns the stored password that choose points to, made if there is none.
func (d *Driver) password(tenant string, choose func(*tenantSecrets) *string) (string, error) {
	s, err := d.loadSecrets(tenant)
	if err != nil {
		return "", err
	}
	p := choose(&s)
	if *p == "" {
		*p = newSecret()
		err = d.saveSecrets(tenant, s) // before it is used anywhere
	}
	return *p, err
}

// SetSecret stores the value of one of a tenant's secrets and gives it to the
// tenant's instances, which use it from their app's next start on. An empty
// value removes the secret. The tenant need not exist yet.
func (d *Driver) SetSecret(ctx context.Context, tenant, name, value string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`).MatchString(name) {
		return fault.Errorf(fault.Invalid, "secret %q: want letters, digits and '_', not beginning with a digit", name)
	}
	if slices.Contains([]byte(value), 0) {
		return fault.Errorf(fault.Invalid, "secret %s holds a zero byte, which no environment can", name)
	}
	unlock, err := d.locks.lock(ctx, tenant)
	if err != nil {
		return err
	}
	defer unlock()
	s, err := d.loadSecrets(tenant)
	if err != nil {
		return fmt.Errorf("set secret: %w", err)
	}
	if s.Values == nil {
		s.Values = make(map[string]string)
	}
	s.Values[name] = value
	if value == "" {
		delete(s.Values, name)
	}
	if err := d.saveSecrets(tenant, s); err != nil {
		return fmt.Errorf("set secret: %w", err)
	}
	st, err := d.load(tenant)
	if err != nil || st == nil {
		return err
	}
	return d.refreshEnvironment(ctx, st)
}

// MissingSecrets implements platform.Platform.
func (d *Driver) MissingSecrets(_ context.Context, tenant string, names []string) ([]string, error) {
	s, err := d.loadSecrets(tenant)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, name := range names {
		if _, ok := s.Values[name]; !ok {
			missing = append(missing, name)
		}
	}
	return missing, nil
}
