package aws

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	infra "github.com/gitopsd/gitopsd/infra/tenant"
	"github.com/gitopsd/gitopsd/internal/fault"
	"github.com/gitopsd/gitopsd/internal/platform"
)

type phase string

const (
	running phase = "running" // its tasks are to run
	drained phase = "drained" // stopped; its data are kept
	leaving phase = "leaving" // its data are being destroyed, and only the last snapshot has all of them
)

// record is what the driver keeps of one tenant: an object in the cell's bucket
// of state. It is written before what it announces, and goes last.
type record struct {
	Tenant string          `json:"tenant"`
	UID    int             `json:"uid"` // and gid, on the file system; never another tenant's
	Config platform.Config `json:"config"`
	Phase  phase           `json:"phase"`

	// Stack says that there may be a stack, Applied of which configuration it was
	// last made whole: a digest, "" while that is not known.
	Stack   bool          `json:"stack,omitempty"`
	Applied string        `json:"applied,omitempty"`
	Outputs infra.Outputs `json:"outputs,omitzero"`
	// Withdrawn says that the stack lets go of its data.
	Withdrawn bool `json:"withdrawn,omitempty"`

	Certificate certificate     `json:"certificate,omitzero"`
	Hosts       []string        `json:"hosts,omitempty"`       // that the key-value store may have for the tenant
	Serial      uint64          `json:"serial,omitempty"`      // of the route; grows
	Static      string          `json:"static,omitempty"`      // release whose assets are served
	Environment string          `json:"environment,omitempty"` // stamp of what the tasks are given
	Least       int             `json:"least,omitempty"`       // tasks that were wanted last, at the least
	Drift       *platform.Drift `json:"drift,omitempty"`

	etag string // of the object; "" for none
}

const recordPrefix = "tenants/"

func recordKey(tenant string) string { return recordPrefix + tenant + ".json" }

// load returns the tenant's record, or nil.
func (d *Driver) load(ctx context.Context, tenant string) (*record, error) {
	if err := checkTenant(tenant); err != nil {
		return nil, err
	}
	var r record
	etag, err := d.readState(ctx, recordKey(tenant), &r)
	if err != nil || etag == "" {
		return nil, err
	}
	r.etag = etag
	return &r, nil
}

// known returns the tenant's record, which must be there.
func (d *Driver) known(ctx context.Context, tenant string) (*record, error) {
	r, err := d.load(ctx, tenant)
	if err == nil && r == nil {
		err = fault.Errorf(fault.NotFound, "tenant %s has no infrastructure", tenant)
	}
	return r, err
}

// save writes the record in the place of the one it was made from: fault.Conflict
// if another wrote it since.
func (d *Driver) save(ctx context.Context, r *record) error {
	etag, err := d.writeState(ctx, recordKey(r.Tenant), r.etag, r)
	if err == nil {
		r.etag = etag
	}
	return err
}

// removeRecord removes the tenant's record.
func (d *Driver) removeRecord(ctx context.Context, tenant string) error {
	_, err := d.state.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: awssdk.String(d.c.Cell.State), Key: awssdk.String(recordKey(tenant))})
	return failure("remove the record of "+tenant, err)
}

// tenants returns the names of all that have a record.
func (d *Driver) tenants(ctx context.Context) ([]string, error) {
	return listTenants(ctx, d.state, d.c.Cell.State)
}

// Tenants returns the names of all that have a record in a cell's bucket of state,
// none if there is no such bucket.
func Tenants(ctx context.Context, c awssdk.Config, bucket string) ([]string, error) {
	names, err := listTenants(ctx, newS3(c), bucket)
	if absent(err) {
		return nil, nil
	}
	return names, err
}

func listTenants(ctx context.Context, api *s3.Client, bucket string) ([]string, error) {
	var names []string
	pages := s3.NewListObjectsV2Paginator(api, &s3.ListObjectsV2Input{
		Bucket: awssdk.String(bucket), Prefix: awssdk.String(recordPrefix),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure("list tenants", err)
		}
		for _, o := range page.Contents {
			name, ok := strings.CutSuffix(strings.TrimPrefix(awssdk.ToString(o.Key), recordPrefix), ".json")
			if ok && checkTenant(name) == nil {
				names = append(names, name)
			}
		}
	}
	return names, nil
}

// adopt returns the tenant's record with c as its configuration, made if there is none.
func (d *Driver) adopt(ctx context.Context, c platform.Config) (*record, error) {
	r, err := d.load(ctx, c.Tenant)
	if err != nil {
		return nil, err
	}
	if r == nil {
		uid, err := d.nextUID(ctx)
		if err != nil {
			return nil, err
		}
		r = &record{Tenant: c.Tenant, UID: uid, Phase: running}
	}
	r.Config = c
	return r, d.save(ctx, r)
}

// uids is the object from which user IDs are given out.
type uids struct {
	Next int `json:"next"`
}

const uidsKey = "uids.json"

// nextUID returns a user ID that was never given out in this cell. The counter is
// written first: a crash wastes a number and gives none twice.
func (d *Driver) nextUID(ctx context.Context) (int, error) {
	for try := 1; ; try++ {
		var u uids
		etag, err := d.readState(ctx, uidsKey, &u)
		if err != nil {
			return 0, err
		}
		uid := max(u.Next, infra.MinUID)
		_, err = d.writeState(ctx, uidsKey, etag, uids{Next: uid + 1})
		if err == nil {
			return uid, nil
		}
		if try == 20 || !fault.Is(err, fault.Conflict) {
			return 0, fmt.Errorf("allocate a user ID: %w", err)
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("allocate a user ID: %w", ctx.Err())
		case <-time.After(time.Duration(try) * 10 * time.Millisecond):
		}
	}
}

// readState reads an object of the cell's state; "" if there is none.
func (d *Driver) readState(ctx context.Context, key string, into any) (etag string, err error) {
	out, err := d.state.GetObject(ctx, &s3.GetObjectInput{Bucket: awssdk.String(d.c.Cell.State), Key: awssdk.String(key)})
	if isCode(err, "NoSuchKey") {
		return "", nil
	}
	if err != nil {
		return "", failure("read "+key, err)
	}
	defer out.Body.Close()
	b, err := io.ReadAll(io.LimitReader(out.Body, 1<<20))
	if err != nil {
		return "", fmt.Errorf("read %s: %w", key, err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		return "", fault.Errorf(fault.Invalid, "%s in bucket %s is not what the driver wrote: %w", key, d.c.Cell.State, err).
			WithHint("its former versions are in the bucket, too")
	}
	return awssdk.ToString(out.ETag), nil
}

// writeState writes an object of the cell's state in the place of the version
// with that tag, or of none: fault.Conflict if another is there.
func (d *Driver) writeState(ctx context.Context, key, etag string, from any) (string, error) {
	b, err := json.MarshalIndent(from, "", "  ")
	if err != nil {
		return "", err
	}
	in := &s3.PutObjectInput{
		Bucket: awssdk.String(d.c.Cell.State), Key: awssdk.String(key), Body: bytes.NewReader(b), ContentType: awssdk.String("application/json"),
	}
	if etag == "" {
		in.IfNoneMatch = awssdk.String("*")
	} else {
		in.IfMatch = awssdk.String(etag)
	}
	out, err := d.state.PutObject(ctx, in)
	if err != nil {
		return "", failure("write "+key, err)
	}
	return awssdk.ToString(out.ETag), nil
}
