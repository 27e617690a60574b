package platform

import (
	"fmt"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
	"github.com/gitopsd/gitopsd/infra/cdn"
	"github.com/gitopsd/gitopsd/infra/tenant"
)

// publisherUID owns what is published on the file system. No tenant has it.
const publisherUID = 9000

// guard protects what holds data, and leaves it in place if it leaves the program.
func (p *program) guard() pulumi.ResourceOption {
	return pulumi.Composite(pulumi.Protect(!p.c.Unprotected), pulumi.RetainOnDelete(!p.c.Unprotected))
}

// key makes the key that all data at rest are encrypted by.
func (p *program) key() *aws.Resource {
	key := aws.Make(p.Scope, "key", aws.KMSKeyArgs{
		Description: "gitopsd " + p.c.Cell, EnableKeyRotation: true, DeletionWindowInDays: 30,
		Policy: aws.Policy(
			aws.Statement{
				Sid: "Account", Principal: map[string]any{"AWS": p.c.global("iam", "root")},
				Actions: keyActions(), Resources: []pulumi.StringInput{aws.S("*")}, // this key: a key's policy has no other
			},
			aws.Statement{
				Sid: "Logs", Principal: map[string]any{"Service": "logs." + p.c.Region + ".amazonaws.com"},
				Actions: []string{
					"kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey",
					"kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey",
				},
				Resources: []pulumi.StringInput{aws.S("*")},
				Condition: map[string]any{"ArnLike": map[string]any{
					"kms:EncryptionContext:aws:logs:arn": p.c.arn("logs", "log-group:/gitopsd/"+p.c.Cell+"/*"),
				}},
			},
		),
	}, p.guard())
	aws.Make(p.Scope, "key", aws.KMSAliasArgs{Name: "alias/" + p.c.name(), TargetKeyID: key.ID().ToStringOutput()})
	return key
}

// keyActions are what the account's roles may be allowed to do with the key.
func keyActions() []string {
	var out []string
	for name := range strings.FieldsSeq(`CancelKeyDeletion CreateAlias CreateGrant Decrypt DeleteAlias DescribeKey
		DisableKey DisableKeyRotation EnableKey EnableKeyRotation Encrypt GenerateDataKey
		GenerateDataKeyWithoutPlaintext GetKeyPolicy GetKeyRotationStatus ListGrants ListKeyPolicies ListResourceTags
		PutKeyPolicy ReEncryptFrom ReEncryptTo RetireGrant RevokeGrant ScheduleKeyDeletion TagResource
		UntagResource UpdateAlias UpdateKeyDescription`) {
		out = append(out, "kms:"+name)
	}
	return out
}

// database makes the Aurora cluster.
func (p *program) database() *aws.Database {
	d := p.c.Database
	p.dbSubnets = aws.Make(p.Scope, "database", aws.SubnetGroupArgs{
		Name: p.c.name(), Description: "gitopsd " + p.c.Cell, SubnetIDs: p.net.private,
	})
	major, _, _ := strings.Cut(d.Version, ".")
	p.dbParameters = aws.Make(p.Scope, "database", aws.DatabaseParametersArgs{
		Name: p.c.name("pg" + major), Family: "aurora-postgresql" + major, Description: "gitopsd " + p.c.Cell,
		Parameters: []aws.DatabaseParameter{
			{Name: "rds.force_ssl", Value: "1", ApplyMethod: "immediate"},
			{Name: "idle_in_transaction_session_timeout", Value: "300000", ApplyMethod: "immediate"},
			{Name: "log_min_duration_statement", Value: "1000", ApplyMethod: "immediate"},
		},
	})
	name := p.c.Name(aws.MaxDatabase)
	cluster := aws.Make(p.Scope, "database", aws.DatabaseArgs{
		Identifier: name, Engine: "aurora-postgresql", EngineMode: "provisioned", EngineVersion: d.Version,
		MasterUsername: tenant.MasterUser, ManagePassword: true, SecretKey: p.kms.Arn, IAMAuthentication: true,
		SubnetGroup: p.dbSubnets.Name, ParameterGroup: p.dbParameters.Name, SecurityGroups: []pulumi.StringInput{p.net.data},
		StorageEncrypted: true, KMSKey: p.kms.Arn, BackupDays: d.BackupDays, CopyTags: true,
		DeletionProtection: !p.c.Unprotected, FinalSnapshot: name + "-final",
		Scaling: aws.DatabaseScaling{Min: d.MinCapacity, Max: d.MaxCapacity}, LogExports: []string{"postgresql"},
	}, p.guard())
	for i := range d.Readers + 1 {
		aws.Make(p.Scope, fmt.Sprintf("database-%d", i), aws.DatabaseInstanceArgs{
			Identifier: fmt.Sprintf("%s-%d", name, i), Cluster: cluster.ID().ToStringOutput(),
			Engine: "aurora-postgresql", EngineVersion: d.Version, InstanceClass: "db.serverless",
			PromotionTier:       min(i, 1), // the first reader grows with the writer, so it can take over
			PerformanceInsights: true,
		}, p.guard())
	}
	return cluster
}

// cache makes the replication group. Its user group lets nobody in but whom the
// driver puts there: the user named default, whom a group must have, may do nothing.
func (p *program) cache() (*aws.Cache, *aws.Resource) {
	c := p.c.Cache
	p.cacheSubnets = aws.Make(p.Scope, "cache", aws.CacheSubnetsArgs{
		Name: p.c.name(), Description: "gitopsd " + p.c.Cell, SubnetIDs: p.net.private,
	})
	major, _, _ := strings.Cut(c.Version, ".")
	p.cacheParameters = aws.Make(p.Scope, "cache", aws.CacheParametersArgs{
		Name: p.c.name("redis" + major), Family: "redis" + major, Description: "gitopsd " + p.c.Cell,
		// A tenant's keys are in the one database that is looked after.
		Parameters: []aws.CacheParameter{{Name: "databases", Value: "1"}},
	})
	p.cacheDefault = aws.Make(p.Scope, "cache-default", aws.CacheUserArgs{
		UserID: p.c.Name(aws.MaxUserGroup, "default"), UserName: "default", Engine: "redis",
		AccessString: "off -@all", NoPassword: true,
	})
	p.cacheControl = aws.Make(p.Scope, "cache-control", aws.CacheUserArgs{
		UserID: p.c.cacheUser(), UserName: p.c.cacheUser(), Engine: "redis",
		AccessString:   "on ~* &* +@all -@admin -@dangerous +restore", // a snapshot's keys come back
		Authentication: &aws.CacheAuthentication{Type: "iam"},
	})
	group := aws.Make(p.Scope, "cache", aws.CacheGroupArgs{
		UserGroupID: p.c.Name(aws.MaxUserGroup), Engine: "redis",
		UserIDs: []pulumi.StringInput{p.cacheDefault.ID().ToStringOutput(), p.cacheControl.ID().ToStringOutput()},
	}, pulumi.IgnoreChanges([]string{"userIds"})) // tenants' users come and go by API
	cache := aws.Make(p.Scope, "cache", aws.CacheArgs{
		ID: p.c.Name(aws.MaxReplicationGroup), Description: "gitopsd " + p.c.Cell, Engine: "redis", EngineVersion: c.Version,
		NodeType: c.NodeType, Nodes: c.Replicas + 1, AutomaticFailover: true, MultiAZ: true, Port: redisPort,
		SubnetGroup: p.cacheSubnets.Name, ParameterGroup: p.cacheParameters.Name, SecurityGroups: []pulumi.StringInput{p.net.data},
		UserGroups: []pulumi.StringInput{group.ID().ToStringOutput()},
		AtRest:     true, InTransit: true, KMSKey: p.kms.Arn, SnapshotDays: 7,
	}, p.guard())
	return cache, group
}

// files makes the file system of releases. Nothing is mounted but by a role, over
// TLS, through an access point.
func (p *program) files() (fs, publisher *aws.Resource, ready []pulumi.Resource) {
	fs = aws.Make(p.Scope, "files", aws.FileSystemArgs{
		CreationToken: p.c.name(), Encrypted: true, KMSKeyID: p.kms.Arn, ThroughputMode: "elastic",
		LifecyclePolicies: []aws.FileLifecycle{{TransitionToIA: "AFTER_30_DAYS"}, {TransitionToPrimary: "AFTER_1_ACCESS"}},
	}, p.guard())
	id := fs.ID().ToStringOutput()
	for i, sub := range p.net.private {
		ready = append(ready, aws.Make(p.Scope, fmt.Sprintf("files-%d", i), aws.MountTargetArgs{
			FileSystemID: id, SubnetID: sub, SecurityGroups: []pulumi.StringInput{p.net.data},
		}))
	}
	aws.Make(p.Scope, "files", aws.FileBackupArgs{FileSystemID: id, Policy: aws.BackupStatus{Status: "ENABLED"}})
	mount := []string{"elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite", "elasticfilesystem:ClientRootAccess"}
	aws.Make(p.Scope, "files", aws.FileSystemPolicyArgs{FileSystemID: id, Policy: aws.Policy(
		aws.Statement{
			Sid: "Roles", Principal: map[string]any{"AWS": p.c.global("iam", "root")}, Actions: mount[:2],
			Resources: []pulumi.StringInput{fs.Arn}, Condition: map[string]any{"Bool": map[string]any{"elasticfilesystem:AccessedViaMountTarget": "true"}},
		},
		aws.Statement{
			Sid: "OnlyTLS", Deny: true, Principal: map[string]any{"AWS": "*"}, Actions: mount,
			Resources: []pulumi.StringInput{fs.Arn}, Condition: map[string]any{"Bool": map[string]any{"aws:SecureTransport": "false"}},
		},
		aws.Statement{
			Sid: "OnlyAccessPoints", Deny: true, Principal: map[string]any{"AWS": "*"}, Actions: mount,
			Resources: []pulumi.StringInput{fs.Arn}, Condition: map[string]any{"Null": map[string]any{"elasticfilesystem:AccessPointArn": "true"}},
		},
	)})
	publisher = aws.Make(p.Scope, "publisher", aws.AccessPointArgs{
		FileSystemID: id, PosixUser: aws.PosixUser{UID: publisherUID, GID: publisherUID},
		RootDirectory: aws.RootDirectory{Path: "/tenants", Creation: aws.CreationInfo{
			OwnerUID: publisherUID, OwnerGID: publisherUID, Permissions: "0755",
		}},
	})
	return fs, publisher, ready
}

// bucket makes a bucket of ours: private, over TLS, encrypted.
func (p *program) bucket(use string, rules []aws.LifecycleRule, more ...aws.Statement) *aws.Bucket {
	b := aws.Make(p.Scope, use, aws.BucketArgs{Bucket: p.c.bucketName(use), ForceDestroy: p.c.Unprotected}, p.guard())
	name := b.ID().ToStringOutput()
	aws.Make(p.Scope, use, aws.PublicAccessBlockArgs{
		Bucket: name, BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true,
	})
	aws.Make(p.Scope, use, aws.BucketLifecycleArgs{Bucket: name, Rules: append([]aws.LifecycleRule{
		{ID: "uploads", Status: "Enabled", Incomplete: &aws.LifecycleUploads{Days: 1}},
	}, rules...)})
	aws.Make(p.Scope, use, aws.BucketPolicyArgs{Bucket: name, Policy: aws.Policy(append(more, cdn.OnlyTLS(name))...)})
	return b
}

// keep encrypts a bucket by our key and keeps former versions.
func (p *program) keep(use string, b *aws.Bucket) {
	name := b.ID().ToStringOutput()
	aws.Make(p.Scope, use, aws.BucketEncryptionArgs{Bucket: name, Rules: []aws.EncryptionRule{
		{Default: aws.EncryptionDefault{Algorithm: "aws:kms", Key: p.kms.Arn}, BucketKey: true},
	}})
	aws.Make(p.Scope, use, aws.BucketVersioningArgs{Bucket: name, Versioning: aws.VersioningStatus{Status: "Enabled"}})
}
