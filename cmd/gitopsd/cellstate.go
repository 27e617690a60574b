package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	secrettypes "github.com/aws/aws-sdk-go-v2/service/secretsmanager/types"
	"github.com/aws/smithy-go"

	"github.com/gitopsd/gitopsd/internal/fault"
)

// What a cell's stack itself hangs on is made before it, and outlives it: the bucket
// of its state, and a secret that is in no file.

// stateBucket returns the name of the bucket that has the state of an account's cells
// in a region.
func stateBucket(account, region string) string {
	return "gitopsd-" + account + "-" + region + "-state"
}

// ensureBucket makes the bucket of state unless it is there: versioned, encrypted,
// public to nobody.
func ensureBucket(ctx context.Context, a awssdk.Config, account, name string) error {
	api := s3.NewFromConfig(a, func(o *s3.Options) { o.UsePathStyle = a.BaseEndpoint != nil })
	_, err := api.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name, ExpectedBucketOwner: &account})
	var answered smithy.APIError
	switch {
	case err == nil:
	case errors.As(err, &answered) && answered.ErrorCode() == "NotFound":
		in := &s3.CreateBucketInput{Bucket: &name}
		if a.Region != "us-east-1" { // which is what no place means
			in.CreateBucketConfiguration = &types.CreateBucketConfiguration{LocationConstraint: types.BucketLocationConstraint(a.Region)}
		}
		_, err := api.CreateBucket(ctx, in)
		var ours *types.BucketAlreadyOwnedByYou
		if err != nil && !errors.As(err, &ours) {
			return fault.Errorf(fault.Transient, "make bucket %s: %w", name, err)
		}
	default: // 403: it is somebody else's
		return fault.Errorf(fault.Conflict, "look at bucket %s: %w", name, err).WithHint("it may be another account's: give a place of your own as state")
	}
	_, err = api.PutPublicAccessBlock(ctx, &s3.PutPublicAccessBlockInput{Bucket: &name, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{
		BlockPublicAcls: awssdk.Bool(true), BlockPublicPolicy: awssdk.Bool(true), IgnorePublicAcls: awssdk.Bool(true), RestrictPublicBuckets: awssdk.Bool(true),
	}})
	if err == nil {
		_, err = api.PutBucketEncryption(ctx, &s3.PutBucketEncryptionInput{Bucket: &name, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{
			Rules: []types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAes256}}},
		}})
	}
	if err == nil {
		_, err = api.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{
			Status: types.BucketVersioningStatusEnabled,
		}})
	}
	if err != nil {
		return fault.Errorf(fault.Transient, "set up bucket %s: %w", name, err)
	}
	return nil
}

// roots are the secrets that a cell begins with. Whoever loses them can read the state
// no more.
type roots struct {
	Origin     string `json:"originSecret"` // between CloudFront and the load balancer
	Passphrase string `json:"passphrase"`   // of secrets in the cell's state
}

// rootsName returns the name of the secret that keeps a cell's roots.
func rootsName(cell string) string { return "gitopsd/" + cell + "/roots" }

// ensureRoots returns a cell's roots, made the first time.
func ensureRoots(ctx context.Context, a awssdk.Config, of string) (roots, error) {
	name := rootsName(of)
	fresh := roots{Origin: randomHex(32), Passphrase: randomHex(32)}
	b, err := json.Marshal(fresh)
	if err != nil {
		return fresh, err
	}
	x := &cell{aws: a}
	text, err := x.secret(ctx, name)
	if fault.Is(err, fault.NotFound) {
		_, err = secretsmanager.NewFromConfig(a).CreateSecret(ctx, &secretsmanager.CreateSecretInput{
			Name: &name, SecretString: awssdk.String(string(b)), Description: awssdk.String("what cell " + of + " of gitopsd begins with; its state cannot be read without"),
		})
		var there *secrettypes.ResourceExistsException
		switch {
		case err == nil:
			return fresh, nil
		case errors.As(err, &there): // another made it at the same time
			text, err = x.secret(ctx, name)
		default:
			err = fault.Errorf(fault.Transient, "make secret %s: %w", name, err)
		}
	}
	if err != nil {
		return roots{}, err
	}
	var kept roots
	if json.Unmarshal([]byte(text), &kept) != nil || kept.Origin == "" || kept.Passphrase == "" { // whose error would quote it
		return roots{}, fault.Errorf(fault.Conflict, "secret %s does not hold what a cell begins with", name).WithHint("restore the version of it that did")
	}
	return kept, nil
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// hostLocks keep processes of this machine from one stack. Those of others are kept
// from it by Pulumi's own lock, of which none is taken away whose owner may live.
type hostLocks struct{ dir string }

// Lock waits until nobody here has the stack.
func (l hostLocks) Lock(ctx context.Context, name string) (func(), error) {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	f, err := os.OpenFile(filepath.Join(l.dir, hex.EncodeToString([]byte(name))), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil // which lets go
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for %s: %w", name, ctx.Err())
		case <-time.After(200 * time.Millisecond):
		}
	}
}
