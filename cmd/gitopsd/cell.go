package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go/logging"

	infra "github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/internal/fault"
)

// What the cell's own parts find in their environment: infra/platform puts it there.
const (
	envCellConfiguration = "GITOPSD_CELL_CONFIGURATION" // the cell's configuration itself
	envCellSecret        = "GITOPSD_CELL_SECRET"        // or the ARN of the secret that has it
	envOriginSecret      = "GITOPSD_ORIGIN_SECRET"
	envVolumes           = "GITOPSD_VOLUMES" // where the cell's file system is mounted
	envDomain            = "GITOPSD_DOMAIN"
	envWarmCache         = "GITOPSD_WARM_CACHE" // what the image of the compile function has compiled; see build.Config
)

// cell is the cell of AWS that this process works in.
type cell struct {
	infra.Outputs
	aws         awssdk.Config
	credentials map[string]string // for the forge and Git, by the variables that may hold them
	master      *password         // of the database
	bundle      string            // file of certificates that count beside the system's, or ""
	roots       *x509.CertPool    // those and the system's; nil: the system's alone
}

// configure returns a process's configuration: what the file says, or without one
// what the cell says to its own parts.
func configure(ctx context.Context, file string) (c config, err error) {
	if file == "" {
		c, err = environmentConfig()
	} else {
		c, err = readConfig(file)
	}
	if err != nil || c.Platform == onLocal && c.Engine == byDBOS {
		return c, err
	}
	if c.Platform == onLocal {
		c.cell = &cell{}
		c.cell.aws, err = c.AWS.sdk(ctx, "")
		return c, err
	}
	return c, c.openCell(ctx, file == "")
}

// environmentConfig is the configuration of a part of the cell. What is beyond the
// cell's own outputs, openCell finds in them.
func environmentConfig() (config, error) {
	c := defaults()
	c.Platform, c.Engine = onAWS, byStepFunctions
	c.Data = filepath.Join(os.TempDir(), "gitopsd") // the one place a function can write to
	c.AWS.Pulumi.Memory = 2 * leastMemory           // what infra/platform gives is for that, and for ourselves
	if c.AWS.Configuration = os.Getenv(envCellSecret); c.AWS.Configuration == "" && os.Getenv(envCellConfiguration) == "" {
		return c, fault.Errorf(fault.Invalid, "there is no configuration").
			WithHint("name a file with --config; what runs in a cell has %s or %s", envCellConfiguration, envCellSecret)
	}
	if dir := os.Getenv(envVolumes); dir != "" {
		c.AWS.Volumes = dir
	}
	return c, nil
}

// openCell learns what the cell says. own says that its configuration is the
// process's, too.
func (c *config) openCell(ctx context.Context, own bool) (err error) {
	x := &cell{}
	if x.aws, err = c.AWS.sdk(ctx, c.AWS.Configuration); err != nil {
		return err
	}
	text, where, err := c.cellText(ctx, x)
	if err != nil {
		return err
	}
	if x.Outputs, err = infra.ParseOutputs([]byte(text)); err != nil {
		return fault.Errorf(fault.Invalid, "%s: %w", where, err).WithHint("run: gitopsd platform up")
	}
	if region := x.Shared.Region; x.aws.Region != region {
		return fault.Errorf(fault.Invalid, "cell %s is in region %s, and the region here is %s", x.Shared.Cell, region, x.aws.Region).
			WithHint("set aws.region: %s", region)
	}
	if own {
		if _, err := parseYAML("control of cell "+x.Shared.Cell, configDocs, []byte(x.Control), c); err != nil {
			return err
		}
	}
	if x.credentials, err = x.readCredentials(ctx); err != nil {
		return err
	}
	x.bundle = c.AWS.CABundle
	if x.roots, err = rootsWith(x.bundle); err != nil {
		return err
	}
	x.master = &password{read: func(ctx context.Context) (string, error) { return x.masterPassword(ctx) }}
	c.cell, c.Domain, c.EdgeAddr = x, x.Shared.Domain, ""
	return nil
}

// sdk returns how AWS is called: as the SDK finds it, in the region that is told or
// that the secret is in.
func (a awsConfig) sdk(ctx context.Context, secret string) (awssdk.Config, error) {
	region := a.Region
	if parts := strings.Split(secret, ":"); region == "" && len(parts) > 3 && parts[0] == "arn" {
		region = parts[3]
	}
	opts := []func(*awsconfig.LoadOptions) error{awsconfig.WithLogger(logging.Nop{})} // it would say what matters to nobody, beside our own log
	if region != "" {
		opts = append(opts, awsconfig.WithRegion(region))
	}
	c, err := awsconfig.LoadDefaultConfig(ctx, opts...)
	switch {
	case err != nil:
		return c, fault.Errorf(fault.Invalid, "set up access to AWS: %w", err)
	case c.Region == "":
		return c, fault.Errorf(fault.Invalid, "which region of AWS is not known").WithHint("set aws.region, or AWS_REGION")
	}
	return c, nil
}

// cellText returns the cell's configuration, and where it is from.
func (c *config) cellText(ctx context.Context, x *cell) (text, where string, err error) {
	if file := c.AWS.ConfigurationFile; file != "" {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", "", fault.Errorf(fault.Invalid, "aws.configurationFile: %w", err)
		}
		return string(b), file, nil
	}
	name := c.AWS.Configuration
	if c.AWS.Cell != "" {
		name = infra.Config{Cell: c.AWS.Cell}.ConfigurationName()
	}
	if name == "" {
		return os.Getenv(envCellConfiguration), envCellConfiguration, nil
	}
	text, err = x.secret(ctx, name)
	if fault.Is(err, fault.NotFound) {
		err = fault.Errorf(fault.NotFound, "%w", err).WithHint("run: gitopsd platform up; or name the cell that is there")
	}
	return text, "secret " + name, err
}

// secret returns the value of a secret; fault.NotFound if it has none.
func (x *cell) secret(ctx context.Context, name string) (string, error) {
	out, err := secretsmanager.NewFromConfig(x.aws).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &name})
	var absent *types.ResourceNotFoundException
	switch {
	case errors.As(err, &absent):
		return "", fault.Errorf(fault.NotFound, "secret %s has no value", name)
	case err != nil:
		return "", fault.Errorf(fault.Transient, "read secret %s: %w", name, err)
	}
	return awssdk.ToString(out.SecretString), nil
}

// readCredentials returns what the cell keeps for the forge and Git. There may be
// none: a public repository needs none.
func (x *cell) readCredentials(ctx context.Context) (map[string]string, error) {
	if x.Credentials == "" {
		return nil, nil
	}
	text, err := x.secret(ctx, x.Credentials)
	if fault.Is(err, fault.NotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	held := map[string]string{}
	decoder := json.NewDecoder(strings.NewReader(text))
	if decoder.Decode(&held) != nil { // whose error would quote the value
		return nil, fault.Errorf(fault.Invalid, "secret %s is not an object of texts", x.Credentials).
			WithHint("put a JSON object there, such as {%q: \"…\"}", envGitHubToken)
	}
	for name := range held {
		switch name {
		case envGitHubToken, envGitHubAppKey, envWebhookSecret, envGitToken:
		default:
			return nil, fault.Errorf(fault.Invalid, "secret %s has %q, which nobody asks for", x.Credentials, name).
				WithHint("it may have %s, %s, %s and %s", envGitHubToken, envGitHubAppKey, envWebhookSecret, envGitToken)
		}
	}
	return held, nil
}

// originSecret returns what CloudFront shows the load balancer.
func (c *config) originSecret(ctx context.Context) (string, error) {
	secret, err := secretOf(c.AWS.OriginSecretFile, envOriginSecret, "aws.originSecretFile")
	if err != nil || secret != "" {
		return secret, err
	}
	return c.cell.secret(ctx, c.cell.OriginSecret)
}
