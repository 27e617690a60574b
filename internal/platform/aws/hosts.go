package aws

import (
	"context"
	"fmt"
	"slices"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfrontkeyvaluestore"
	kvs "github.com/aws/aws-sdk-go-v2/service/cloudfrontkeyvaluestore/types"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// maxKeys is how many keys one call changes.
// Source: CloudFront API reference, UpdateKeys.
const maxKeys = 50

// hosts are the entries of the cell's key-value store: each host's tenant, by
// which the CDN's function names it.
type hosts struct {
	api   *cloudfrontkeyvaluestore.Client
	store string // ARN
	locks Locks
}

func newHosts(c awssdk.Config, store string, locks Locks) *hosts {
	return &hosts{api: cloudfrontkeyvaluestore.NewFromConfig(c), store: store, locks: locks}
}

// owner returns the tenant a host is mapped to, or "".
func (h *hosts) owner(ctx context.Context, host string) (string, error) {
	out, err := h.api.GetKey(ctx, &cloudfrontkeyvaluestore.GetKeyInput{KvsARN: awssdk.String(h.store), Key: awssdk.String(host)})
	if absent(err) {
		return "", nil
	}
	if err != nil {
		return "", failure("look up host "+host, err)
	}
	return awssdk.ToString(out.Value), nil
}

// change has some hosts lead to the tenant, and others no longer. A host that
// leads to another tenant is a fault.Conflict, and is not taken away from it.
func (h *hosts) change(ctx context.Context, tenant string, add, remove []string) error {
	puts, deletes, err := h.due(ctx, tenant, add, remove)
	if err != nil || len(puts)+len(deletes) == 0 {
		return err
	}
	// The store takes a change only of its present version: one at a time is quicker.
	unlock, err := h.locks.Lock(ctx, "key-value-store")
	if err != nil {
		return err
	}
	defer unlock()
	for try := 1; ; try++ {
		err := h.update(ctx, tenant, add, remove)
		if err == nil || try == 10 || !hasCode(err, fault.Conflict) {
			return err
		}
		select { // somebody else changed it, and may go on
		case <-ctx.Done():
			return fmt.Errorf("change hosts of %s: %w", tenant, ctx.Err())
		case <-time.After(time.Duration(try) * 50 * time.Millisecond):
		}
	}
}

func (h *hosts) update(ctx context.Context, tenant string, add, remove []string) error {
	out, err := h.api.DescribeKeyValueStore(ctx, &cloudfrontkeyvaluestore.DescribeKeyValueStoreInput{KvsARN: awssdk.String(h.store)})
	if err != nil {
		return failure("look at the key-value store", err)
	}
	version := out.ETag // before what it says is read
	puts, deletes, err := h.due(ctx, tenant, add, remove)
	if err != nil {
		return err
	}
	for len(puts)+len(deletes) > 0 {
		in := &cloudfrontkeyvaluestore.UpdateKeysInput{KvsARN: awssdk.String(h.store), IfMatch: version}
		for ; len(puts) > 0 && len(in.Puts) < maxKeys; puts = puts[1:] {
			in.Puts = append(in.Puts, kvs.PutKeyRequestListItem{Key: awssdk.String(puts[0]), Value: awssdk.String(tenant)})
		}
		for ; len(deletes) > 0 && len(in.Puts)+len(in.Deletes) < maxKeys; deletes = deletes[1:] {
			in.Deletes = append(in.Deletes, kvs.DeleteKeyRequestListItem{Key: awssdk.String(deletes[0])})
		}
		updated, err := h.api.UpdateKeys(ctx, in)
		if err != nil {
			return failure("change hosts of "+tenant, err)
		}
		version = updated.ETag
	}
	return nil
}

// due returns what is still to be done of a change.
func (h *hosts) due(ctx context.Context, tenant string, add, remove []string) (puts, deletes []string, err error) {
	for _, host := range add {
		is, err := h.owner(ctx, host)
		switch {
		case err != nil:
			return nil, nil, err
		case is == "":
			puts = append(puts, host)
		case is != tenant:
			return nil, nil, fault.Errorf(fault.Conflict, "host %s is tenant %s's", host, is).
				WithHint("one of the two must give it up: see spec.domains of both")
		}
	}
	for _, host := range remove {
		if slices.Contains(add, host) {
			continue
		}
		is, err := h.owner(ctx, host)
		if err != nil {
			return nil, nil, err
		}
		if is == tenant {
			deletes = append(deletes, host)
		}
	}
	return puts, deletes, nil
}
