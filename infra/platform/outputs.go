package platform

import (
	"encoding/json"
	"fmt"

	"github.com/pulumi/pulumi/sdk/v3/go/pulumi"

	"github.com/gitopsd/gitopsd/infra/aws"
)

// outputs returns what the cell tells, by the names of Outputs.
func (p *program) outputs(x *cell) pulumi.Map {
	text := func(s string) pulumi.Input { return pulumi.String(s) }
	repositories, functions, machines := pulumi.Map{}, pulumi.Map{}, pulumi.Map{}
	for name, r := range x.repositories {
		repositories[name] = r.URL
	}
	for name, f := range x.functions {
		functions[name] = f.Arn
	}
	for name, m := range x.machines {
		machines[name] = m.Arn
	}
	url := text("")
	if x.url != nil {
		url = x.url.URL
	}
	return pulumi.Map{
		"shared": p.shared(x), "nameServers": x.edge.zone.NameServers, "keyValueStore": x.edge.store.Arn,
		"fileSystem": x.files.ID(), "publisher": x.publisher.ID(), "secret": x.secret.Arn, "originSecret": x.origin.Arn,
		"credentials": x.credentials.Arn, "control": text(p.c.Control),
		"cacheGroup": x.cacheGroup.ID(), "cacheId": x.cache.ID(), "cacheEndpoint": pulumi.Sprintf("%s:%d", x.cache.Primary, redisPort),
		"database": pulumi.Sprintf("%s:%d", x.database.Endpoint, postgresPort), "databaseId": x.database.ID(),
		"masterSecret": x.database.MasterSecret(),
		"snapshots":    x.snapshots.ID(), "state": x.state.ID(), "logs": x.logs.ID(),
		"repositories": repositories, "functions": functions, "machines": machines,
		"pulumiTask": text(p.c.PulumiFamily()), "daemonTask": text(p.c.DaemonFamily()), "taskGroup": p.net.tasks, "webhookUrl": url, "dashboard": text(p.c.name()),
	}
}

// shared returns what tenants use, by the names of tenant.Shared.
func (p *program) shared(x *cell) pulumi.Map {
	c, e := p.c, x.edge
	text := func(s string) pulumi.Input { return pulumi.String(s) }
	return pulumi.Map{
		"account": text(c.Account), "region": text(c.Region), "cell": text(c.Cell), "domain": text(c.Domain), "zoneId": e.zone.ZoneID,
		"vpc": p.net.vpc, "privateSubnets": inputs(p.net.private), "instanceGroup": p.net.instances, "dataGroup": p.net.data,
		"instanceProfile": x.profile.Arn, "instanceTypes": pulumi.ToStringArray(c.Compute.InstanceTypes), "instanceImage": text(c.Compute.Image),
		"clusterArn": x.fleet.Cluster.Arn, "clusterName": x.fleet.Cluster.Name, "capacityProvider": x.fleet.Provider,
		"executionRole": x.roles["execution"].Arn, "secretPrefix": text(c.SecretPrefix()), "runtimeImage": text(c.Images.Runtime),
		"namespaceId": x.namespace.ID(), "namespaceName": text(x.namespaceName),
		"fileSystemId": x.files.ID(), "fileSystemArn": x.files.Arn, "publisherUid": pulumi.Int(publisherUID),
		"distributionId": e.multitenant.ID(), "distributionArn": e.multitenant.Arn,
		"connectionGroup": e.group.ID(), "connectionEndpoint": e.group.RoutingEndpoint, "wildcardArn": e.wildcard.Arn,
		"requestFunction": e.request.Arn, "responseFunction": e.response.Arn, "headersPolicy": e.headers.ID(), "originAccess": e.access.ID(),
		"originHost": text(c.originHost()), "domainCertificate": e.certificate,
		"databaseVersion": text(c.Database.Version), "databaseParameters": p.dbParameters.Name, "databaseSubnets": p.dbSubnets.Name,
		"cacheVersion": text(c.Cache.Version), "cacheNodeType": text(c.Cache.NodeType), "cacheSubnets": p.cacheSubnets.Name, "cacheParameters": p.cacheParameters.Name,
		"cacheDefaultUser": p.cacheDefault.ID(), "cacheControlUser": p.cacheControl.ID(), "kmsKey": p.kms.Arn,
		"logRetentionDays": pulumi.Int(c.LogDays), "tags": pulumi.ToStringMap(c.Tags),
	}
}

func inputs(list []pulumi.StringInput) pulumi.StringArray { return pulumi.StringArray(list) }

// configure stores what our own parts need where they read it: what the cell
// tells, and, apart from it, the origin's secret.
func (p *program) configure(x *cell) {
	aws.Make(p.Scope, "configuration", aws.SecretVersionArgs{
		Secret: x.secret.ID().ToStringOutput(), Value: aws.JSON(p.outputs(x)),
	}, pulumi.AdditionalSecretOutputs([]string{"secretString"}))
	aws.Make(p.Scope, "origin", aws.SecretVersionArgs{
		Secret: x.origin.ID().ToStringOutput(), Value: aws.Secret(p.c.OriginSecret),
	}, pulumi.AdditionalSecretOutputs([]string{"secretString"}))
}

func decode(values map[string]any) (Outputs, error) {
	var o Outputs
	cell, ok := values[Output]
	if !ok {
		return o, fmt.Errorf("%s is missing", Output)
	}
	b, err := json.Marshal(cell)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, err
	}
	return o, o.check()
}
