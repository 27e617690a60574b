package iamtest

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/go/ssa"
)

// planted has each way by which a call can be made, and some that make none.
const planted = `package planted

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"golang.org/x/sync/errgroup"
)

type store interface{ Keep(context.Context) error }

type inBucket struct{ api *s3.Client }

func (b inBucket) Keep(ctx context.Context) error { _, err := b.api.PutObject(ctx, &s3.PutObjectInput{}); return err }

type inSecret struct{ api *secretsmanager.Client }

func (b inSecret) Keep(ctx context.Context) error { _, err := b.api.CreateSecret(ctx, &secretsmanager.CreateSecretInput{}); return err }

type heads interface {
	HeadObject(context.Context, *s3.HeadObjectInput, ...func(*s3.Options)) (*s3.HeadObjectOutput, error)
	HeadBucket(context.Context, *s3.HeadBucketInput, ...func(*s3.Options)) (*s3.HeadBucketOutput, error)
}

type parts struct {
	s store
	h heads
}

// Root makes calls: of its own, in a closure, through interfaces, by a paginator, a
// waiter and a presigner, as a method value and in a package's variable.
func Root(ctx context.Context, bucket *s3.Client, tasks *ecs.Client) error {
	p := parts{s: inBucket{bucket}, h: bucket}
	var g errgroup.Group
	g.Go(func() error { _, err := bucket.GetBucketTagging(ctx, nil); return err })
	pages := ecs.NewListTasksPaginator(tasks, nil)
	_, _ = pages.NextPage(ctx)
	_ = ecs.NewServicesStableWaiter(tasks).Wait(ctx, nil, 0)
	_, _ = s3.NewPresignClient(bucket).PresignGetObject(ctx, nil)
	list := bucket.ListBuckets
	_, _ = list(ctx, nil)
	_, _ = p.h.HeadObject(ctx, nil)
	Later(tasks)
	return p.s.Keep(ctx)
}

// Later is called by what is given to the standard library.
func Later(tasks *ecs.Client) { context.AfterFunc(context.Background(), func() { _, _ = tasks.StopTask(context.Background(), nil) }) }

// Never is called by nobody.
func Never(ctx context.Context, b *s3.Client) store { _, _ = b.DeleteBucket(ctx, nil); return inSecret{} }

// Tasks is cut off in one of the tests.
func Tasks(ctx context.Context, b *s3.Client) { _, _ = b.DeleteObject(ctx, nil) }

// Other makes what Tasks does.
func Other(ctx context.Context, b *s3.Client) { Tasks(ctx, b) }
`

// TestFound: each way of making a call is found, and none that nobody goes.
func TestFound(t *testing.T) {
	t.Parallel()
	file, err := filepath.Abs("../fault/planted/planted.go")
	if err != nil {
		t.Fatal(err)
	}
	p, err := load(map[string][]byte{file: []byte(planted)}, "./internal/fault/planted")
	if err != nil {
		t.Fatal(err)
	}
	root := p.function("internal/fault/planted", "Root")
	want := []call{
		{"ecs", "DescribeServices"},
		{"ecs", "ListTasks"},
		{"ecs", "StopTask"},
		{"s3", "GetBucketTagging"},
		{"s3", "GetObject"},
		{"s3", "HeadObject"},
		{"s3", "ListBuckets"},
		{"s3", "PutObject"},
	}
	if diff := cmp.Diff(want, p.from(nil, root).list(), cmp.AllowUnexported(call{})); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
	tasks, other := p.function("internal/fault/planted", "Tasks"), p.function("internal/fault/planted", "Other")
	if got := p.from(nil, other).list(); !slices.Equal(got, []call{{"s3", "DeleteObject"}}) {
		t.Errorf("calls of Other: %v", got)
	}
	if got := p.from([]*ssa.Function{tasks}, other).list(); len(got) != 0 {
		t.Errorf("calls beyond what was cut off: %v", got)
	}
}
