package aws

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"regexp"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/tenant"
)

var (
	tenantForm = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)
	digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

func checkTenant(name string) error {
	if len(name) > tenant.MaxName || !tenantForm.MatchString(name) {
		return fault.Errorf(fault.Invalid, "tenant %q: want a DNS label of at most %d bytes", name, tenant.MaxName)
	}
	return nil
}

func checkDigest(digest string) error {
	if !digestForm.MatchString(digest) {
		return fault.Errorf(fault.Invalid, "release %q is not a digest", digest)
	}
	return nil
}

// Owner tells what belongs to a cell's tenants by its tags, which are those of
// the infrastructure programs.
type Owner struct {
	Cell string // lower-case letters, digits and '-', at most 16
}

// tags returns what marks a resource as a tenant's.
func (o Owner) tags(tenant string) map[string]string {
	return map[string]string{infra.TagManagedBy: infra.ManagedBy, infra.TagPlatform: o.Cell, infra.TagTenant: tenant}
}

// check fails with fault.Conflict unless the tags are the tenant's.
func (o Owner) check(kind, name, tenant string, tags map[string]string) error {
	for k, v := range o.tags(tenant) {
		if tags[k] != v {
			return fault.Errorf(fault.Conflict, "%s %s exists and is not tagged as that of %s: %s is %q", kind, name, tenant, k, tags[k]).
				WithHint("remove or rename it")
		}
	}
	return nil
}

// role is the name of a tenant's Postgres role, its database and its Redis user.
func role(tenant string) string { return "t_" + tenant }

// newPassword returns 256 random bits, as letters and digits.
func newPassword() string {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// derive returns a key for one use, from a secret.
func derive(secret, use string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(use))
	return hex.EncodeToString(mac.Sum(nil))
}
