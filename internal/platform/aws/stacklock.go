package aws

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// LockOwner is who holds Pulumi's lock of a stack, as the lock's file says.
type LockOwner struct {
	PID      int       `json:"pid"`
	User     string    `json:"username"`
	Host     string    `json:"hostname"`
	At       time.Time `json:"timestamp"`
	Location string    `json:"-"`
}

func (o LockOwner) String() string {
	return fmt.Sprintf("process %d of %s on %s, since %s", o.PID, o.User, o.Host, o.At.UTC().Format(time.RFC3339))
}

// Files reads the files of Pulumi's backend.
type Files interface {
	// List returns the names below dir, which need not be there.
	List(ctx context.Context, dir string) ([]string, error)
	// Read returns what is in a file; fs.ErrNotExist if it is not there.
	Read(ctx context.Context, name string) ([]byte, error)
}

// OpenFiles returns the files of a backend: file:///path or s3://bucket/path.
func OpenFiles(backend string, c awssdk.Config) (Files, error) {
	u, err := url.Parse(backend)
	if err != nil {
		return nil, fault.Errorf(fault.Invalid, "backend %q: %w", backend, err)
	}
	switch u.Scheme {
	case "file":
		return localFiles{u.Path}, nil
	case "s3":
		return bucketFiles{newS3(c), u.Host, strings.Trim(u.Path, "/")}, nil
	}
	return nil, fault.Errorf(fault.Invalid, "backend %q: want s3:// or file://", backend)
}

// newS3 returns a client; one of another endpoint than AWS's has no names for buckets.
func newS3(c awssdk.Config) *s3.Client {
	return s3.NewFromConfig(c, func(o *s3.Options) { o.UsePathStyle = c.BaseEndpoint != nil })
}

// maxFile bounds what is read of a file: a cell's state has some hundred kilobytes.
const maxFile = 64 << 20

type localFiles struct{ dir string }

func (f localFiles) List(_ context.Context, dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.Join(f.dir, dir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, path.Join(dir, e.Name()))
	}
	return names, nil
}

func (f localFiles) Read(_ context.Context, name string) ([]byte, error) {
	return os.ReadFile(filepath.Join(f.dir, name))
}

type bucketFiles struct {
	api    *s3.Client
	bucket string
	prefix string
}

func (f bucketFiles) List(ctx context.Context, dir string) ([]string, error) {
	var names []string
	pages := s3.NewListObjectsV2Paginator(f.api, &s3.ListObjectsV2Input{
		Bucket: awssdk.String(f.bucket), Prefix: awssdk.String(path.Join(f.prefix, dir) + "/"),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure("list "+dir+" in "+f.bucket, err)
		}
		for _, o := range page.Contents {
			names = append(names, strings.TrimPrefix(strings.TrimPrefix(awssdk.ToString(o.Key), f.prefix), "/"))
		}
	}
	return names, nil
}

func (f bucketFiles) Read(ctx context.Context, name string) ([]byte, error) {
	out, err := f.api.GetObject(ctx, &s3.GetObjectInput{Bucket: awssdk.String(f.bucket), Key: awssdk.String(path.Join(f.prefix, name))})
	if absent(err) {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, failure("read "+name+" in "+f.bucket, err)
	}
	defer out.Body.Close()
	return io.ReadAll(io.LimitReader(out.Body, maxFile))
}

// readLocks returns who holds Pulumi's locks of a stack. One whose file cannot
// be understood counts as of somebody unknown.
func readLocks(ctx context.Context, files Files, s Stack) ([]LockOwner, error) {
	names, err := files.List(ctx, path.Join(".pulumi", "locks", "organization", s.Project, s.Name))
	if err != nil {
		return nil, fmt.Errorf("locks of stack %s: %w", s.full(), err)
	}
	var owners []LockOwner
	for _, name := range names {
		if !strings.HasSuffix(name, ".json") {
			continue
		}
		b, err := files.Read(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // let go meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("locks of stack %s: %w", s.full(), err)
		}
		var o LockOwner
		if json.Unmarshal(b, &o) != nil {
			o = LockOwner{User: "somebody", Host: "an unknown host"}
		}
		o.Location = name
		owners = append(owners, o)
	}
	return owners, nil
}
