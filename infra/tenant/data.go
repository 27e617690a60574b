package tenant

import (
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
)

// MasterUser is who makes roles and databases in a tenant's own cluster.
const MasterUser = "gitopsd"

// Sizes of what is dedicated. Aurora's are in capacity units of 2 GiB: at its
// least it costs little and wakes at once.
const (
	databaseMin  = 0.5
	databaseMax  = 8
	backupDays   = 14
	databasePort = 5432
	cachePort    = 6379
)

// database makes a cluster of the tenant's own.
func (p *program) database() {
	s := p.c.Shared
	if !p.c.Tenant.Database.Enabled || !dedicated(p.c.Tenant.Isolation.Database) {
		return
	}
	name := p.c.DataName()
	cluster := aws.Make(p.Scope, "database", aws.DatabaseArgs{
		Identifier: name, Engine: "aurora-postgresql", EngineMode: "provisioned", EngineVersion: s.DatabaseVersion,
		MasterUsername: MasterUser, ManagePassword: true, SecretKey: aws.S(s.KMSKey), IAMAuthentication: true,
		SubnetGroup: aws.S(s.DatabaseSubnets), ParameterGroup: aws.S(s.DatabaseParameters),
		SecurityGroups: []pulumi.StringInput{aws.S(s.DataGroup)}, StorageEncrypted: true, KMSKey: aws.S(s.KMSKey),
		BackupDays: backupDays, CopyTags: true, DeletionProtection: !p.c.Withdrawn,
		SkipFinalSnapshot: p.c.Withdrawn, // a withdrawn tenant's snapshot was taken and verified
		FinalSnapshot:     name + "-final",
		Scaling:           aws.DatabaseScaling{Min: databaseMin, Max: databaseMax},
		LogExports:        []string{"postgresql"},
	}, p.guard())
	aws.Make(p.Scope, "database-writer", aws.DatabaseInstanceArgs{
		Identifier: name + "-0", Cluster: cluster.ID().ToStringOutput(), Engine: "aurora-postgresql", EngineVersion: s.DatabaseVersion,
		InstanceClass: "db.serverless", PerformanceInsights: true,
	})
	p.out[OutDatabaseEndpoint] = pulumi.Sprintf("%s:%d", cluster.Endpoint, databasePort)
	p.out[OutDatabaseSecret] = cluster.MasterSecret()
}

// cache makes a replication group of the tenant's own, with a user group that
// lets in nobody until the tenant's user is put in it.
func (p *program) cache() {
	s := p.c.Shared
	if !p.c.Tenant.Cache.Enabled || !dedicated(p.c.Tenant.Isolation.Cache) {
		return
	}
	name := p.c.DataName()
	group := aws.Make(p.Scope, "cache-users", aws.CacheGroupArgs{
		UserGroupID: name, Engine: "redis", UserIDs: []pulumi.StringInput{aws.S(s.CacheDefaultUser), aws.S(s.CacheControlUser)},
	}, pulumi.IgnoreChanges([]string{"userIds"})) // users come and go by API, one change at a time
	cache := aws.Make(p.Scope, "cache", aws.CacheArgs{
		ID: name, Description: fmt.Sprintf("gitopsd %s: %s", s.Cell, p.name), Engine: "redis", EngineVersion: s.CacheVersion,
		NodeType: s.CacheNodeType, Nodes: 2, AutomaticFailover: true, MultiAZ: true, Port: cachePort,
		SubnetGroup: aws.S(s.CacheSubnets), ParameterGroup: aws.S(s.CacheParameters), SecurityGroups: []pulumi.StringInput{aws.S(s.DataGroup)},
		UserGroups: []pulumi.StringInput{group.ID().ToStringOutput()},
		AtRest:     true, InTransit: true, KMSKey: aws.S(s.KMSKey), SnapshotDays: 1,
	}, p.guard())
	p.out[OutCacheEndpoint] = pulumi.Sprintf("%s:%d", cache.Primary, cachePort)
	p.out[OutCacheUserGroup] = group.ID()
}
