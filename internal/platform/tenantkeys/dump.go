package tenantkeys

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/redis/go-redis/v9"
)

// Entry is one key in a dump: a line of JSON.
type Entry struct {
	Key   []byte        `json:"key"`
	Value []byte        `json:"value"` // of DUMP, for RESTORE
	TTL   time.Duration `json:"ttl"`   // nanoseconds; 0: none
}

// Dump writes the tenant's keys to w, one Entry a line, and returns how many.
// Keys that change meanwhile are written as they were at some moment of it.
func (k *Keys) Dump(ctx context.Context, tenant string, w io.Writer) (int, error) {
	lines := json.NewEncoder(w)
	written := make(map[string]bool)
	err := k.each(ctx, Prefix(tenant), func(keys []string) (bool, error) {
		entries, err := k.entries(ctx, keys)
		if err != nil {
			return false, err
		}
		for _, e := range entries {
			if written[string(e.Key)] {
				continue
			}
			written[string(e.Key)] = true
			if err := lines.Encode(e); err != nil {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return 0, fmt.Errorf("dump keys of %s: %w", tenant, err)
	}
	return len(written), nil
}

// entries returns those of the keys that are still there.
func (k *Keys) entries(ctx context.Context, keys []string) ([]Entry, error) {
	dumps, ttls := make([]*redis.StringCmd, len(keys)), make([]*redis.DurationCmd, len(keys))
	_, err := k.db.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, key := range keys {
			dumps[i], ttls[i] = p.Dump(ctx, key), p.PTTL(ctx, key)
		}
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, err
	}
	var entries []Entry
	for i, key := range keys {
		value, err := dumps[i].Bytes()
		if errors.Is(err, redis.Nil) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ttl := ttls[i].Val()
		if ttl == 0 { // less than what Redis counts in
			ttl = time.Millisecond
		}
		entries = append(entries, Entry{Key: []byte(key), Value: value, TTL: max(ttl, 0)}) // negative: none
	}
	return entries, nil
}
