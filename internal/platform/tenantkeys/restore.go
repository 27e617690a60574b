package tenantkeys

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// A restore writes keys beside the tenant's own, under a prefix that is nobody's
// (no tenant's name has a tilde), then takes them over in one transaction. The
// prefix itself is a key that says how far it is.
func staging(tenant string) string { return "~restore:" + tenant + ":" }

const (
	staged   = "staged"
	replaced = "replaced"
)

// What is sent at once: entries, and bytes of values.
const (
	batchEntries = 500
	batchBytes   = 4 << 20
)

// Stage writes the keys of a dump beside the tenant's and returns their names,
// for Replace. A key that is not the tenant's is fault.Invalid.
func (k *Keys) Stage(ctx context.Context, tenant string, dump io.Reader) ([]string, error) {
	if err := k.db.Set(ctx, staging(tenant), staged, 0).Err(); err != nil {
		return nil, fmt.Errorf("restore keys of %s: %w", tenant, err)
	}
	var names []string
	var batch []Entry
	size := 0
	flush := func() error {
		err := k.write(ctx, tenant, batch)
		batch, size = batch[:0], 0
		return err
	}
	lines := json.NewDecoder(bufio.NewReader(dump))
	for {
		var e Entry
		err := lines.Decode(&e)
		if errors.Is(err, io.EOF) {
			return names, flush()
		}
		if err != nil {
			return nil, fault.Errorf(fault.Invalid, "dump of the keys of %s: %w", tenant, err)
		}
		if !strings.HasPrefix(string(e.Key), Prefix(tenant)) {
			return nil, fault.Errorf(fault.Invalid, "the dump has the key %q, which is not %s's", e.Key, tenant)
		}
		names, batch, size = append(names, string(e.Key)), append(batch, e), size+len(e.Value)
		if len(batch) < batchEntries && size < batchBytes {
			continue
		}
		if err := flush(); err != nil {
			return nil, err
		}
	}
}

func (k *Keys) write(ctx context.Context, tenant string, batch []Entry) error {
	_, err := k.db.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, e := range batch {
			p.RestoreReplace(ctx, staging(tenant)+string(e.Key), e.TTL, string(e.Value))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("restore keys of %s: %w", tenant, err)
	}
	return nil
}

// Replace removes the tenant's keys and puts those in place that Stage wrote,
// all in one transaction. Unstage ends what Stage began.
func (k *Keys) Replace(ctx context.Context, tenant string, names []string) error {
	var own []string
	err := k.each(ctx, Prefix(tenant), func(keys []string) (bool, error) {
		own = append(own, keys...)
		return true, nil
	})
	if err != nil {
		return err
	}
	// Sent again after an answer that was lost, the transaction would remove what
	// it had put in place.
	once := *k.db.Options()
	once.MaxRetries = -1
	client := redis.NewClient(&once)
	defer client.Close()
	var renamed []*redis.StatusCmd
	_, err = client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		for keys := range slices.Chunk(own, batchEntries) {
			p.Unlink(ctx, keys...)
		}
		for _, name := range names {
			renamed = append(renamed, p.Rename(ctx, staging(tenant)+name, name))
		}
		p.Set(ctx, staging(tenant), replaced, 0)
		return nil
	})
	for _, r := range renamed { // one that has expired meanwhile is not there to rename
		if err := r.Err(); err != nil && err.Error() != "ERR no such key" {
			return fmt.Errorf("replace keys of %s: %w", tenant, err)
		}
	}
	if err != nil && err.Error() != "ERR no such key" {
		return fmt.Errorf("replace keys of %s: %w", tenant, err)
	}
	return nil
}

// Restoring reports whether Stage was begun and not ended by Unstage, and
// whether Replace came in between.
func (k *Keys) Restoring(ctx context.Context, tenant string) (begun, done bool, err error) {
	state, err := k.db.Get(ctx, staging(tenant)).Result()
	if errors.Is(err, redis.Nil) {
		return false, false, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("look at the restore of the keys of %s: %w", tenant, err)
	}
	return true, state == replaced, nil
}

// Unstage removes what Stage wrote and Replace did not take.
func (k *Keys) Unstage(ctx context.Context, tenant string) error {
	begun, _, err := k.Restoring(ctx, tenant)
	if err != nil || !begun {
		return err
	}
	err = k.each(ctx, staging(tenant), func(keys []string) (bool, error) {
		keys = slices.DeleteFunc(keys, func(key string) bool { return key == staging(tenant) }) // which goes last
		if len(keys) == 0 {
			return true, nil
		}
		return true, k.db.Unlink(ctx, keys...).Err()
	})
	if err == nil {
		err = k.db.Del(ctx, staging(tenant)).Err()
	}
	if err != nil {
		return fmt.Errorf("end the restore of the keys of %s: %w", tenant, err)
	}
	return nil
}
