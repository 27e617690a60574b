// Package images_test holds the images' description against what the rest of the
// repository says, and against a linter that is not ours.
package images_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/semver"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/check"
	"github.com/gitopsd/gitopsd/infra/platform"
	"github.com/gitopsd/gitopsd/infra/tenant"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// value returns what an expression's group matches in the Dockerfile, the only match.
func value(t *testing.T, expression string) string {
	t.Helper()
	all := regexp.MustCompile("(?m)"+expression).FindAllStringSubmatch(read(t, "Dockerfile"), -1)
	if len(all) != 1 {
		t.Fatalf("%d matches of %s", len(all), expression)
	}
	return all[0][1]
}

// TestVersions: what the images have is what the programs ask for.
func TestVersions(t *testing.T) {
	t.Parallel()
	if got := value(t, `^ARG PULUMI_AWS_VERSION=(.*)$`); got != aws.Version {
		t.Errorf("the image has version %s of the provider, programs ask for %s", got, aws.Version)
	}
	major, _, _ := strings.Cut(platform.Default().Database.Version, ".")
	if got := value(t, `^ARG POSTGRES_MAJOR=(.*)$`); got != major {
		t.Errorf("the image has the programs of Postgres %s, and Aurora is %s", got, major)
	}
	mod, err := modfile.Parse("go.mod", []byte(read(t, "../../go.mod")), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := value(t, `^ARG GO_IMAGE=.*/golang:([0-9.]+)-`); semver.Compare("v"+got, "v"+mod.Go.Version) < 0 {
		t.Errorf("the image has Go %s, and the module wants %s", got, mod.Go.Version)
	}
}

// TestTargets: each repository of a cell has its image, which runs as nobody of ours
// but the publisher, and the agent is where its health is asked for.
func TestTargets(t *testing.T) {
	t.Parallel()
	r, err := check.Program(platform.Program(config()), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, repository := range r.Of("aws:ecr/repository:Repository") {
		target := filepath.Base(repository.Inputs["name"].StringValue())
		if got := value(t, `^FROM .* AS (`+target+`)$`); got != target {
			t.Errorf("no target is %s", target)
		}
	}
	users := regexp.MustCompile(`(?m)^USER (\d+):\d+$`).FindAllStringSubmatch(read(t, "Dockerfile"), -1)
	var ids []string
	for _, u := range users {
		ids = append(ids, u[1])
	}
	if publisher := strconv.Itoa(publisherUID(t, r)); !slices.Equal(ids, []string{"65534", publisher, "0", publisher}) {
		t.Errorf("users %q, want the publisher's %s at the end of each stage", ids, publisher)
	}
	command := tenant.HealthCommand()[1]
	if got := value(t, `^ENTRYPOINT \["(.*/`+command+`)"\]$`); !strings.HasPrefix(got, value(t, `^ENV PATH=(/usr/local/bin)$`)) {
		t.Errorf("%s is not in the PATH", got)
	}
}

func publisherUID(t *testing.T, r check.Run) int {
	t.Helper()
	for _, point := range r.Of("aws:efs/accessPoint:AccessPoint") {
		return int(point.Inputs["posixUser"].ObjectValue()["uid"].NumberValue())
	}
	t.Fatal("there is no publisher")
	return 0
}

func config() platform.Config {
	c := platform.Default()
	c.Account, c.Region, c.Domain, c.OriginSecret = "123456789012", "eu-west-1", "apps.example", strings.Repeat("s", 32)
	c.Network.Zones = []string{"eu-west-1a", "eu-west-1b"}
	return c
}

// TestLint: hadolint, which has a parser of its own, finds nothing wrong.
func TestLint(t *testing.T) {
	t.Parallel()
	program, err := filepath.Abs("../../bin/hadolint/bin/hadolint")
	if err != nil {
		t.Fatal(err)
	}
	switch _, err := os.Stat(program); {
	case err != nil && check.Required():
		t.Fatalf("run scripts/hadolint: %v", err)
	case err != nil:
		t.Skip("hadolint is not here: run scripts/hadolint")
	}
	out, err := exec.CommandContext(t.Context(), program, "--config", "../../.hadolint.yaml", "Dockerfile").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	wrong := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(wrong, []byte("FROM debian\nRUN cd /x && sudo ls\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, wrong).CombinedOutput(); err == nil {
		t.Errorf("planted mistakes were not found: %s", out)
	}
}
