package aws_test

import (
	"context"
	"log/slog"
	"maps"
	"testing"
	"time"

	"github.com/gitopsd/gitopsd/internal/platform"
	aws "github.com/gitopsd/gitopsd/internal/platform/aws"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest"
	"github.com/gitopsd/gitopsd/internal/platform/aws/awstest/provider"
	"github.com/gitopsd/gitopsd/internal/platform/platformtest"
)

// made are the modules whose resources are really made in a played cell.
var made = []string{"s3", "iam", "cloudwatch", "efs", "ecs", "appautoscaling", "servicediscovery", "route53", "cloudfront", "acm"}

// world is a played cell, and the real Pulumi on a played provider.
type world struct {
	*awstest.Cell
	engine *engine
	tb     testing.TB // the cell ends with it
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Cell: awstest.NewCell(t), tb: t}
	w.engine = newEngine(t, func(c *aws.PulumiConfig, p *provider.Config) {
		p.AWS, p.Services = w.AWS(), made
	})
	return w
}

// open returns the driver of one more control plane.
func (w *world) open(t *testing.T, change ...func(*aws.Config)) *aws.Driver {
	t.Helper()
	c := aws.Config{
		Cell: w.Outputs(), OriginSecret: awstest.OriginSecret, AWS: w.AWS(), Stacks: w.engine.another(t), Volumes: w.Volumes(),
		Master: w.Master(), Keys: w.Keys(), Temp: w.tb.TempDir(), Logger: slog.New(slog.DiscardHandler),
		Timing: aws.Timing{Poll: 20 * time.Millisecond, Start: time.Minute, Logs: 20 * time.Millisecond, Watch: 50 * time.Millisecond},
	}
	for _, f := range change {
		f(&c)
	}
	d, err := aws.Open(w.tb.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	w.tb.Cleanup(func() { _ = d.Close() })
	return d
}

func TestDriver(t *testing.T) {
	w := newWorld(t)
	platformtest.Exercise(t, func(t *testing.T) (platform.Platform, platformtest.Env) {
		d := w.open(t)
		return d, w.Env(t, func(ctx context.Context, tenant, name, value string) error {
			return d.SetSecret(ctx, tenant, name, value)
		})
	})
	if left := w.engine.provider.Live(); len(left) > 0 {
		t.Errorf("left in stacks: %v", maps.Collect(maps.All(left)))
	}
}
