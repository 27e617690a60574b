package aws

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// maxSecret is the largest value Secrets Manager takes, in bytes.
const maxSecret = 65536

// pending is the label of a version that is about to become the current one.
const pending = "GITOPSD_PENDING"

var secretName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Credentials are what one tenant's secret holds: one secret a tenant, for each
// costs by the month. ECS hands the keys environment, controlKey and edgeKey to
// the tenant's containers; the other ones are the control plane's alone.
type Credentials struct {
	Database string `json:"database,omitempty"` // password
	Cache    string `json:"cache,omitempty"`    // password
	// FormerCache is a password that is still good, while the next one spreads.
	FormerCache string            `json:"formerCache,omitempty"`
	ControlKey  string            `json:"controlKey"`
	EdgeKey     string            `json:"edgeKey"`
	Values      map[string]string `json:"values,omitempty"` // of the secrets that the tenant's file names
	// Offered are DATABASE_URL and the like: what the platform gives the app.
	Offered map[string]string `json:"offered,omitempty"`
	// Environment is all that the app is given, as a JSON object in a string.
	Environment string `json:"environment"`
}

// Secrets keeps tenants' credentials in Secrets Manager.
//
// Two writers never lose each other's change: a version becomes the current
// one only in the place of the version that it was made from.
type Secrets struct {
	api   *secretsmanager.Client
	owner Owner
}

// NewSecrets returns the tenants' secrets of a platform.
func NewSecrets(c awssdk.Config, owner Owner) *Secrets {
	return &Secrets{api: secretsmanager.NewFromConfig(c), owner: owner}
}

// Name returns the name of a tenant's secret.
func (s *Secrets) Name(tenant string) string { return "gitopsd/" + s.owner.Cell + "/tenant/" + tenant }

// Load returns a tenant's credentials. Without any, there is false.
func (s *Secrets) Load(ctx context.Context, tenant string) (_ Credentials, there bool, err error) {
	c, version, err := s.load(ctx, tenant)
	return c, version != "", err
}

// load also returns the version; "" if there is none.
func (s *Secrets) load(ctx context.Context, tenant string) (c Credentials, version string, err error) {
	if err := checkTenant(tenant); err != nil {
		return c, "", err
	}
	out, err := s.api.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{
		SecretId: awssdk.String(s.Name(tenant)), VersionStage: awssdk.String("AWSCURRENT"),
	})
	if absent(err) || deleted(err) {
		return c, "", nil
	}
	if err != nil {
		return c, "", failure("read secret "+s.Name(tenant), err)
	}
	if err := json.Unmarshal([]byte(awssdk.ToString(out.SecretString)), &c); err != nil {
		return c, "", fault.Errorf(fault.Conflict, "secret %s exists and does not hold a tenant's credentials", s.Name(tenant)).
			WithHint("remove or rename it") // without err: it quotes the value
	}
	return c, awssdk.ToString(out.VersionId), nil
}

// deleted reports whether a secret is there no more, but for its name.
func deleted(err error) bool {
	var invalid *types.InvalidRequestException
	return errors.As(err, &invalid) && strings.Contains(invalid.ErrorMessage(), "deletion")
}

// Change has the tenant's credentials as change makes them, and returns them. It
// makes the secret if there is none. change may be called several times.
func (s *Secrets) Change(ctx context.Context, tenant string, change func(*Credentials) error) (Credentials, error) {
	const tries = 10
	for try := 1; ; try++ {
		c, version, err := s.load(ctx, tenant)
		if err != nil {
			return c, err
		}
		before, _ := json.Marshal(c) // strings only: never fails
		if c.ControlKey == "" {
			c.ControlKey = newPassword()
		}
		if c.EdgeKey == "" {
			c.EdgeKey = newPassword()
		}
		if err := change(&c); err != nil {
			return c, err
		}
		c.Environment = c.environment()
		after, _ := json.Marshal(c)
		if len(after) > maxSecret {
			return c, fault.Errorf(fault.Invalid, "the secrets of %s take %d bytes together, more than %d", tenant, len(after), maxSecret)
		}
		if version != "" && string(before) == string(after) {
			return c, nil
		}
		err = s.store(ctx, tenant, version, string(after))
		if err == nil || try == tries || !fault.Is(err, fault.Conflict) {
			return c, err
		}
	}
}

func (c Credentials) environment() string {
	env := maps.Clone(c.Values)
	if env == nil {
		env = make(map[string]string)
	}
	maps.Copy(env, c.Offered)
	b, _ := json.Marshal(env)
	return string(b)
}

// store makes value the current version in the place of the given one.
func (s *Secrets) store(ctx context.Context, tenant, version, value string) error {
	what, name := "write secret "+s.Name(tenant), awssdk.String(s.Name(tenant))
	if version == "" {
		_, err := s.api.CreateSecret(ctx, &secretsmanager.CreateSecretInput{
			Name: name, SecretString: awssdk.String(value), Tags: secretTags(s.owner.tags(tenant)),
		})
		var exists *types.ResourceExistsException
		if errors.As(err, &exists) {
			return fault.Errorf(fault.Conflict, "%s: %w", what, err)
		}
		return failure(what, err)
	}
	if err := s.check(ctx, tenant); err != nil {
		return err
	}
	put, err := s.api.PutSecretValue(ctx, &secretsmanager.PutSecretValueInput{
		SecretId: name, SecretString: awssdk.String(value), VersionStages: []string{pending},
	})
	if err != nil {
		return failure(what, err)
	}
	_, err = s.api.UpdateSecretVersionStage(ctx, &secretsmanager.UpdateSecretVersionStageInput{
		SecretId: name, VersionStage: awssdk.String("AWSCURRENT"),
		MoveToVersionId: put.VersionId, RemoveFromVersionId: awssdk.String(version),
	})
	var moved *types.InvalidParameterException
	if errors.As(err, &moved) {
		return fault.Errorf(fault.Conflict, "%s: another wrote it at the same time: %w", what, err)
	}
	return failure(what, err)
}

func secretTags(tags map[string]string) []types.Tag {
	var list []types.Tag
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		list = append(list, types.Tag{Key: awssdk.String(k), Value: awssdk.String(tags[k])})
	}
	return list
}

// check fails if a secret of the tenant's name is somebody else's.
func (s *Secrets) check(ctx context.Context, tenant string) error {
	_, _, err := s.describe(ctx, tenant)
	return err
}

func (s *Secrets) describe(ctx context.Context, tenant string) (arn string, there bool, err error) {
	out, err := s.api.DescribeSecret(ctx, &secretsmanager.DescribeSecretInput{SecretId: awssdk.String(s.Name(tenant))})
	if absent(err) {
		return "", false, nil
	}
	if err != nil {
		return "", false, failure("look at secret "+s.Name(tenant), err)
	}
	tags := make(map[string]string)
	for _, t := range out.Tags {
		tags[awssdk.ToString(t.Key)] = awssdk.ToString(t.Value)
	}
	if err := s.owner.check("secret", s.Name(tenant), tenant, tags); err != nil {
		return "", true, err
	}
	return awssdk.ToString(out.ARN), out.DeletedDate == nil, nil
}

// ARN returns the ARN of a tenant's secret, or "".
func (s *Secrets) ARN(ctx context.Context, tenant string) (string, error) {
	if err := checkTenant(tenant); err != nil {
		return "", err
	}
	arn, there, err := s.describe(ctx, tenant)
	if !there {
		return "", err
	}
	return arn, err
}

// Set stores the value of one of a tenant's secrets; an empty one removes it.
func (s *Secrets) Set(ctx context.Context, tenant, name, value string) error {
	if !secretName.MatchString(name) {
		return fault.Errorf(fault.Invalid, "secret %q: want letters, digits and '_', not beginning with a digit", name)
	}
	if strings.ContainsRune(value, 0) {
		return fault.Errorf(fault.Invalid, "secret %s holds a zero byte, which no environment can", name)
	}
	_, err := s.Change(ctx, tenant, func(c *Credentials) error {
		if c.Values == nil {
			c.Values = make(map[string]string)
		}
		c.Values[name] = value
		if value == "" {
			delete(c.Values, name)
		}
		return nil
	})
	return err
}

// Missing returns those of the names that the tenant has no value for.
func (s *Secrets) Missing(ctx context.Context, tenant string, names []string) ([]string, error) {
	c, _, err := s.Load(ctx, tenant)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, name := range names {
		if _, ok := c.Values[name]; !ok {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// Remove removes a tenant's secret at once: within the waiting time that AWS
// would grant, its name could not be used again.
func (s *Secrets) Remove(ctx context.Context, tenant string) error {
	if err := checkTenant(tenant); err != nil {
		return err
	}
	if _, there, err := s.describe(ctx, tenant); err != nil || !there {
		return err
	}
	_, err := s.api.DeleteSecret(ctx, &secretsmanager.DeleteSecretInput{
		SecretId: awssdk.String(s.Name(tenant)), ForceDeleteWithoutRecovery: awssdk.Bool(true),
	})
	if absent(err) {
		return nil
	}
	return failure("remove secret "+s.Name(tenant), err)
}
