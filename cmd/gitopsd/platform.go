package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"

	infra "github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform/aws"
)

// platformCmd makes what tenants share on AWS.
type platformCmd struct {
	Up      platformUpCmd      `cmd:"" help:"Make a cell as its file says, or change it to that."`
	Preview platformPreviewCmd `cmd:"" help:"Say what up would change."`
	Destroy platformDestroyCmd `cmd:"" help:"Take a cell away that has no tenants any more."`
}

// cellFlags say which cell.
type cellFlags struct {
	Config string `help:"The cell's file (YAML)." short:"c" required:"" type:"existingfile" placeholder:"FILE"`
	Dir    string `help:"Directory for Pulumi's plugins and work; below the user's caches by default." type:"path" placeholder:"DIR"`
}

// cellStack is a cell's stack, and what makes it.
type cellStack struct {
	cellFile
	aws.Stack
	stacks *aws.Pulumi
	sdk    awssdk.Config
	kept   []string // what is left when the stack is gone
}

// open makes what the stack itself hangs on.
func (f cellFlags) open(ctx context.Context, progress func(aws.Change)) (*cellStack, error) {
	s := &cellStack{}
	var err error
	if s.cellFile, err = readCell(f.Config); err != nil {
		return nil, err
	}
	if s.sdk, err = (awsConfig{Region: s.Region}).sdk(ctx, ""); err != nil {
		return nil, err
	}
	if err := s.complete(ctx, s.sdk); err != nil {
		return nil, err
	}
	s.OriginSecret = strings.Repeat("0", 64) // not asked for before the rest is right
	if err := s.Validate(); err != nil {
		return nil, err
	}
	secrets, err := ensureRoots(ctx, s.sdk, s.Cell)
	if err != nil {
		return nil, err
	}
	s.OriginSecret, s.kept = secrets.Origin, append(s.kept, "secret "+rootsName(s.Cell))
	if s.State == "" {
		bucket := stateBucket(s.Account, s.Region)
		if err := ensureBucket(ctx, s.sdk, s.Account, bucket); err != nil {
			return nil, err
		}
		s.State = "s3://" + bucket
	}
	s.kept = append(s.kept, "state in "+s.State)
	s.Stack = aws.Stack{Project: infra.Project, Name: infra.StackName(s.Cell), Program: infra.Program(s.cellFile.Config), Settings: s.cellFile.Settings()}
	s.stacks, err = f.pulumi(s, secrets.Passphrase, progress)
	return s, err
}

func (f cellFlags) pulumi(s *cellStack, passphrase string, progress func(aws.Change)) (*aws.Pulumi, error) {
	dir := f.Dir
	if dir == "" {
		caches, err := os.UserCacheDir()
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "find the user's caches: %w", err).WithHint("name a directory with --dir")
		}
		dir = filepath.Join(caches, "gitopsd", "pulumi")
	}
	files, err := aws.OpenFiles(s.State, s.sdk)
	if err != nil {
		return nil, err
	}
	return aws.NewPulumi(aws.PulumiConfig{
		Dir: dir, Backend: backendURL(s.State, s.sdk), Secrets: "passphrase",
		Env:   map[string]string{"AWS_REGION": s.Region, "PULUMI_CONFIG_PASSPHRASE": passphrase},
		Locks: hostLocks{filepath.Join(dir, "locks")}, Files: files, Dead: aws.DeadHere(nil), Adopter: aws.NewAdopter(aws.AdopterConfig{AWS: s.sdk, Account: s.Account}),
		Progress: progress, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
}

// backendURL returns a backend as Pulumi is told of it: where AWS is somewhere else,
// it has to be told that, too.
func backendURL(backend string, a awssdk.Config) string {
	if !strings.HasPrefix(backend, "s3://") {
		return backend
	}
	backend += "?region=" + a.Region
	if a.BaseEndpoint == nil {
		return backend
	}
	host, insecure := strings.CutPrefix(*a.BaseEndpoint, "http://")
	return fmt.Sprintf("%s&endpoint=%s&disableSSL=%t&s3ForcePathStyle=true", backend, strings.TrimPrefix(host, "https://"), insecure)
}

// platformUpCmd makes a cell, or changes it.
type platformUpCmd struct {
	cellFlags
	outputFlag
}

// Run makes the cell, shows each resource, and then what to do next.
func (u *platformUpCmd) Run(ctx context.Context, t *terminal) error {
	s, err := u.open(ctx, func(c aws.Change) { t.progress(c) })
	if err != nil {
		return err
	}
	values, err := s.stacks.Up(ctx, s.Stack)
	if err != nil {
		return err
	}
	out, err := infra.ReadOutputs(values)
	if err != nil {
		return err
	}
	if u.json() {
		return t.printJSON(out)
	}
	t.cell(s, out)
	return nil
}

// zone is the kind whose name servers somebody waits for: the certificates do.
const zone = "aws:route53/zone:Zone"

// progress shows a resource that is changed.
func (t *terminal) progress(c aws.Change) {
	if c.Done {
		fmt.Fprintf(t.err, "%-14s %s %s\n", c.Operation, strings.TrimPrefix(c.Kind, "aws:"), c.Name)
	}
	servers, _ := c.Outputs["nameServers"].([]any)
	if c.Kind == zone && len(servers) > 0 && c.Operation == "create" {
		fmt.Fprintf(t.err, "\nDelegate %v to %s: the certificates wait for that.\n\n", c.Outputs["name"], words(servers))
	}
}

func words(values []any) string {
	var out []string
	for _, v := range values {
		out = append(out, fmt.Sprint(v))
	}
	return strings.Join(out, ", ")
}

// cell says what a cell is, and what is to be done next.
func (t *terminal) cell(s *cellStack, out infra.Outputs) {
	fmt.Fprintf(t.out, "cell %s of %s in %s\n\n", s.Cell, s.Account, s.Region)
	fmt.Fprintf(t.out, "domain          %s, to be delegated to %s\n", s.Domain, strings.Join(out.NameServers, ", "))
	for _, name := range slices.Sorted(maps.Keys(out.Repositories)) {
		fmt.Fprintf(t.out, "%-15s %s\n", name, out.Repositories[name])
	}
	fmt.Fprintf(t.out, "configuration   secret %s\n", s.ConfigurationName())
	if out.WebhookURL != "" {
		fmt.Fprintf(t.out, "webhooks        %s\n", out.WebhookURL)
	}
	fmt.Fprintln(t.out)
	for i, step := range nextSteps(s, out) {
		fmt.Fprintf(t.out, "%d. %s\n", i+1, step)
	}
}

// nextSteps returns what is left to do until the cell serves.
func nextSteps(s *cellStack, out infra.Outputs) []string {
	steps := []string{"Delegate the domain, unless that is done: " + s.Domain + " NS " + strings.Join(out.NameServers, " ")}
	if s.Images.ControlPlane == "" || s.Images.Runtime == "" {
		return append(steps,
			"Build the images and push them to these repositories: docs/aws.md says how.",
			"Put them under images, by digest, and run this again.")
	}
	if s.Control == "" {
		return append(steps, fmt.Sprintf("Run the control plane in the cell's network: gitopsd run -c FILE with platform: aws, aws: {cell: %s} (docs/config.md).", s.Cell))
	}
	return append(steps,
		fmt.Sprintf("Give the control plane its credentials: aws secretsmanager put-secret-value --secret-id gitopsd/%s/credentials (docs/config.md).", s.Cell),
		"Have the forge send its webhooks to the address above, with the secret that is among them; without webhooks, it is asked each minute.")
}

// platformPreviewCmd says what up would change.
type platformPreviewCmd struct {
	cellFlags
	outputFlag
}

// Run changes nothing of the cell.
func (p *platformPreviewCmd) Run(ctx context.Context, t *terminal) error {
	changes := []aws.Change{}
	s, err := p.open(ctx, func(c aws.Change) {
		if !c.Done {
			changes = append(changes, c)
		}
	})
	if err != nil {
		return err
	}
	if _, err := s.stacks.Preview(ctx, s.Stack); err != nil {
		return err
	}
	if p.json() {
		return t.printJSON(changes)
	}
	counts := map[string]int{}
	for _, c := range changes {
		counts[c.Operation]++
		line := fmt.Sprintf("%-14s %s %s", c.Operation, strings.TrimPrefix(c.Kind, "aws:"), c.Name)
		if c.Operation != "create" && c.Operation != "delete" && len(c.Keys) > 0 {
			line += ": " + strings.Join(c.Keys, ", ")
		}
		fmt.Fprintln(t.out, clean(line))
	}
	if len(changes) == 0 {
		fmt.Fprintf(t.out, "cell %s is as its file says\n", s.Cell)
		return nil
	}
	var total []string
	for _, operation := range slices.Sorted(maps.Keys(counts)) {
		total = append(total, fmt.Sprintf("%d %s", counts[operation], operation))
	}
	fmt.Fprintf(t.err, "%s\n", strings.Join(total, ", "))
	return nil
}

// platformDestroyCmd takes a cell away.
type platformDestroyCmd struct {
	cellFlags
	Yes bool `help:"It is meant."`
}

// Run takes the cell away, unless something says that it is not meant.
func (d *platformDestroyCmd) Run(ctx context.Context, t *terminal) error {
	c, err := readCell(d.Config)
	switch {
	case err != nil:
		return err
	case !c.Unprotected:
		return fault.Errorf(fault.Invalid, "the data of cell %s are protected: databases, files, snapshots", c.Cell).
			WithHint("set unprotected: true in %s, run gitopsd platform up, and then this", d.Config)
	case !d.Yes:
		return fault.Errorf(fault.Invalid, "cell %s would be gone with all its data, and with the snapshots of its tenants", c.Cell).WithHint("if it is meant: --yes")
	}
	s, err := d.open(ctx, func(c aws.Change) { t.progress(c) })
	if err != nil {
		return err
	}
	tenants, err := aws.Tenants(ctx, s.sdk, s.StateBucket())
	if err != nil {
		return err
	}
	if len(tenants) > 0 {
		return fault.Errorf(fault.Conflict, "cell %s has %s: %s", s.Cell, plural(len(tenants), "tenant"), strings.Join(tenants[:min(len(tenants), 5)], ", ")).
			WithHint("delete their files and wait until they are gone: what they have outside of the cell would be left")
	}
	if err := s.stacks.Destroy(ctx, s.Stack); err != nil {
		return err
	}
	fmt.Fprintf(t.out, "cell %s is gone\nleft, for it to be made again: %s\n", s.Cell, strings.Join(s.kept, "; "))
	return nil
}
