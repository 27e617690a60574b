package awstest

import (
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront"
	"github.com/aws/aws-sdk-go-v2/service/cloudfront/types"
	kvs "github.com/aws/aws-sdk-go-v2/service/cloudfrontkeyvaluestore"
	kvstypes "github.com/aws/aws-sdk-go-v2/service/cloudfrontkeyvaluestore/types"
)

// keyValueStore is a store. CloudFront's API has an ETag of the store itself, the
// store's API another, of what is in it: neither is good for the other.
type keyValueStore struct {
	types.KeyValueStore
	etag    string // of the store
	version string // ETag of the keys
	keys    map[string]string
	created time.Time
	done    time.Time
}

func (c *CloudFront) createStore(in *cloudfront.CreateKeyValueStoreInput) (*cloudfront.CreateKeyValueStoreOutput, *refusal) {
	name := awssdk.ToString(in.Name)
	switch {
	case !ecsName.MatchString(name) || len(name) > 64:
		return nil, refuse("InvalidArgument", "name %q", name)
	case c.stores[name] != nil:
		return nil, refuse("EntityAlreadyExists", "The key value store %s exists.", name)
	case len(c.stores) >= c.Quotas.Stores:
		return nil, refuse("EntityLimitExceeded", "The maximum number of key value stores is reached.")
	}
	id := identity("key-value-store", c.id("K"))
	s := &keyValueStore{etag: c.id("E"), version: c.id("K"), keys: make(map[string]string), created: time.Now(), done: time.Now().Add(c.Delays.Store)}
	s.KeyValueStore = types.KeyValueStore{
		Name: in.Name, Id: &id, ARN: cloudFrontARN("key-value-store", id), Comment: awssdk.String(awssdk.ToString(in.Comment)),
		Status: awssdk.String("PROVISIONING"), LastModifiedTime: ptr(time.Now()),
	}
	c.stores[name] = s
	c.tags[*s.ARN] = nil
	if in.Tags != nil {
		c.tags[*s.ARN] = in.Tags.Items
	}
	return &cloudfront.CreateKeyValueStoreOutput{KeyValueStore: &s.KeyValueStore, ETag: &s.etag, Location: s.ARN}, nil
}

func (c *CloudFront) namedStore(name *string) (*keyValueStore, *refusal) {
	s := c.stores[awssdk.ToString(name)]
	if s == nil {
		return nil, refuse("EntityNotFound", "The key value store %s does not exist.", awssdk.ToString(name))
	}
	return s, nil
}

func (c *CloudFront) describeStore(in *cloudfront.DescribeKeyValueStoreInput) (*cloudfront.DescribeKeyValueStoreOutput, *refusal) {
	s, no := c.namedStore(in.Name)
	if no != nil {
		return nil, no
	}
	return &cloudfront.DescribeKeyValueStoreOutput{KeyValueStore: &s.KeyValueStore, ETag: &s.etag}, nil
}

func (c *CloudFront) updateStore(in *cloudfront.UpdateKeyValueStoreInput) (*cloudfront.UpdateKeyValueStoreOutput, *refusal) {
	s, no := c.namedStore(in.Name)
	if no == nil {
		no = matches(in.IfMatch, s.etag)
	}
	if no != nil {
		return nil, no
	}
	s.Comment, s.etag = in.Comment, c.id("E")
	return &cloudfront.UpdateKeyValueStoreOutput{KeyValueStore: &s.KeyValueStore, ETag: &s.etag}, nil
}

func (c *CloudFront) deleteStore(in *cloudfront.DeleteKeyValueStoreInput) (*cloudfront.DeleteKeyValueStoreOutput, *refusal) {
	s, no := c.namedStore(in.Name)
	if no == nil {
		no = matches(in.IfMatch, s.etag)
	}
	if no != nil {
		return nil, no
	}
	delete(c.stores, *s.Name)
	delete(c.tags, *s.ARN)
	return &cloudfront.DeleteKeyValueStoreOutput{}, nil
}

func (c *CloudFront) listStores(in *cloudfront.ListKeyValueStoresInput) (*cloudfront.ListKeyValueStoresOutput, *refusal) {
	var all []types.KeyValueStore
	for _, name := range sortedKeys(c.stores) {
		if s := c.stores[name]; in.Status == nil || *in.Status == *s.Status {
			all = append(all, s.KeyValueStore)
		}
	}
	page, next, no := paged(all, in.Marker, awssdk.ToInt32(in.MaxItems), 100)
	return &cloudfront.ListKeyValueStoresOutput{KeyValueStoreList: &types.KeyValueStoreList{
		Items: page, NextMarker: next, Quantity: awssdk.Int32(int32(len(page))), MaxItems: awssdk.Int32(100), //nolint:gosec // a page
	}}, no
}

// Value returns what a store's function gets for a key.
func (c *CloudFront) Value(storeARN, key string) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, no := c.store(&storeARN)
	if no != nil {
		return "", false
	}
	value, there := s.keys[key]
	return value, there
}

// playKeys adds the API of what is in the stores. Its calls are signed for all
// regions, and one ETag is that of all keys of a store.
func (s *Server) playKeys(c *CloudFront) {
	const keys = "/key-value-stores/{KvsARN}/keys"
	s.services["cloudfront-keyvaluestore"] = &rest{mu: &c.mu, codec: jsonCodec{}, before: c.settle, routes: []route{
		call("DescribeKeyValueStore", "GET /key-value-stores/{KvsARN}", "", op(c.describeKeys)),
		call("ListKeys", "GET "+keys, "", op(c.listKeys)),
		call("GetKey", "GET "+keys+"/{Key}", "", op(c.getKey)),
		call("PutKey", "PUT "+keys+"/{Key}", "", op(c.putKey)),
		call("DeleteKey", "DELETE "+keys+"/{Key}", "", op(c.deleteKey)),
		call("UpdateKeys", "POST "+keys, "", op(c.updateKeys)),
	}}
}

func (c *CloudFront) store(arn *string) (*keyValueStore, *refusal) {
	for _, s := range c.stores {
		if *s.ARN != awssdk.ToString(arn) {
			continue
		}
		if *s.Status != "READY" {
			return nil, refuse("ConflictException", "The store is %s.", *s.Status)
		}
		return s, nil
	}
	return nil, refuse("ResourceNotFoundException", "Key Value Store was not found: %s", awssdk.ToString(arn))
}

func (s *keyValueStore) size() (n int64) {
	for k, v := range s.keys {
		n += int64(len(k) + len(v))
	}
	return n
}

func (s *keyValueStore) count() *int32 { return awssdk.Int32(int32(len(s.keys))) } //nolint:gosec // 5 MB at most

func (c *CloudFront) describeKeys(in *kvs.DescribeKeyValueStoreInput) (*kvs.DescribeKeyValueStoreOutput, *refusal) {
	s, no := c.store(in.KvsARN)
	if no != nil {
		return nil, no
	}
	return &kvs.DescribeKeyValueStoreOutput{
		KvsARN: s.ARN, ETag: &s.version, ItemCount: s.count(), TotalSizeInBytes: awssdk.Int64(s.size()),
		Created: &s.created, LastModified: s.LastModifiedTime, Status: s.Status,
	}, nil
}

func (c *CloudFront) listKeys(in *kvs.ListKeysInput) (*kvs.ListKeysOutput, *refusal) {
	s, no := c.store(in.KvsARN)
	if no != nil {
		return nil, no
	}
	var all []kvstypes.ListKeysResponseListItem
	for _, k := range sortedKeys(s.keys) {
		all = append(all, kvstypes.ListKeysResponseListItem{Key: awssdk.String(k), Value: awssdk.String(s.keys[k])})
	}
	page, next, no := paged(all, in.NextToken, awssdk.ToInt32(in.MaxResults), 50)
	return &kvs.ListKeysOutput{Items: page, NextToken: next}, no
}

func (c *CloudFront) getKey(in *kvs.GetKeyInput) (*kvs.GetKeyOutput, *refusal) {
	s, no := c.store(in.KvsARN)
	if no != nil {
		return nil, no
	}
	value, there := s.keys[*in.Key]
	if !there {
		return nil, refuse("ResourceNotFoundException", "Key %s was not found.", *in.Key)
	}
	return &kvs.GetKeyOutput{Key: in.Key, Value: &value, ItemCount: s.count(), TotalSizeInBytes: awssdk.Int64(s.size())}, nil
}

// change makes a change of keys that was asked for with the ETag of all of them.
func (c *CloudFront) change(arn, ifMatch *string, deletes []string, puts map[string]string) (*keyValueStore, *refusal) {
	s, no := c.store(arn)
	switch {
	case no != nil:
		return nil, no
	case awssdk.ToString(ifMatch) != s.version:
		return nil, refuse("ConflictException", "The provided If-Match does not match the current ETag.")
	}
	for _, k := range deletes {
		if _, there := s.keys[k]; !there {
			return nil, refuse("ResourceNotFoundException", "Key %s was not found.", k)
		}
	}
	size := s.size()
	for k, v := range puts {
		if k == "" || len(k) > c.Quotas.KeySize || len(v) > c.Quotas.ValueSize {
			return nil, refuse("ValidationException", "The key %q, or its value, is empty or too long.", k)
		}
		size += int64(len(k) + len(v))
		if was, there := s.keys[k]; there {
			size -= int64(len(k) + len(was))
		}
	}
	if size > int64(c.Quotas.StoreSize) {
		return nil, refuse("ServiceQuotaExceededException", "The store is full.")
	}
	for _, k := range deletes {
		delete(s.keys, k)
	}
	for k, v := range puts {
		s.keys[k] = v
	}
	s.version, s.LastModifiedTime = c.id("K"), ptr(time.Now())
	return s, nil
}

func (c *CloudFront) putKey(in *kvs.PutKeyInput) (*kvs.PutKeyOutput, *refusal) {
	s, no := c.change(in.KvsARN, in.IfMatch, nil, map[string]string{*in.Key: awssdk.ToString(in.Value)})
	if no != nil {
		return nil, no
	}
	return &kvs.PutKeyOutput{ETag: &s.version, ItemCount: s.count(), TotalSizeInBytes: awssdk.Int64(s.size())}, nil
}

func (c *CloudFront) deleteKey(in *kvs.DeleteKeyInput) (*kvs.DeleteKeyOutput, *refusal) {
	s, no := c.change(in.KvsARN, in.IfMatch, []string{*in.Key}, nil)
	if no != nil {
		return nil, no
	}
	return &kvs.DeleteKeyOutput{ETag: &s.version, ItemCount: s.count(), TotalSizeInBytes: awssdk.Int64(s.size())}, nil
}

func (c *CloudFront) updateKeys(in *kvs.UpdateKeysInput) (*kvs.UpdateKeysOutput, *refusal) {
	var deletes []string
	puts, size := make(map[string]string), 0
	for _, d := range in.Deletes {
		deletes = append(deletes, *d.Key)
		size += len(*d.Key)
	}
	for _, p := range in.Puts {
		if _, twice := puts[*p.Key]; twice || slices.Contains(deletes, *p.Key) {
			return nil, refuse("ValidationException", "The key %s is in the request more than once.", *p.Key)
		}
		puts[*p.Key] = *p.Value
		size += len(*p.Key) + len(*p.Value)
	}
	if len(deletes)+len(puts) > c.Quotas.KeysPerUpdate || size > c.Quotas.UpdateSize {
		return nil, refuse("ValidationException", "At most %d keys, of %d bytes together.", c.Quotas.KeysPerUpdate, c.Quotas.UpdateSize)
	}
	s, no := c.change(in.KvsARN, in.IfMatch, deletes, puts)
	if no != nil {
		return nil, no
	}
	return &kvs.UpdateKeysOutput{ETag: &s.version, ItemCount: s.count(), TotalSizeInBytes: awssdk.Int64(s.size())}, nil
}

// jsonCodec is REST with JSON: names are those of the fields of the SDK's types.
type jsonCodec struct{}

func (jsonCodec) read(r *http.Request, _ string, input reflect.Value) error {
	return readJSON(r.Body, input.Addr().Interface())
}

func (jsonCodec) write(w http.ResponseWriter, _ string, output reflect.Value) {
	headers(w, output)
	if f := output.FieldByName("ETag"); f.IsValid() {
		f.SetZero() // it is a header, and nowhere else
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(encodeJSON(output.Addr().Interface(), asIs))
}

func (jsonCodec) refuse(w http.ResponseWriter, no *refusal) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-ErrorType", no.code)
	w.WriteHeader(statusOf(no.code))
	_, _ = io.WriteString(w, `{"Message":"`+strings.ReplaceAll(strings.ReplaceAll(no.message, `\`, `\\`), `"`, `\"`)+`"}`)
}
