package aws

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// SubnetGroupArgs is aws:rds/subnetGroup:SubnetGroup.
type SubnetGroupArgs struct {
	Name        string               `pulumi:"name"`
	Description string               `pulumi:"description"`
	SubnetIDs   []pulumi.StringInput `pulumi:"subnetIds"`
	Tags        map[string]string    `pulumi:"tags"`
}

func (SubnetGroupArgs) kind() (string, *Named) { return "aws:rds/subnetGroup:SubnetGroup", nil }

// DatabaseParametersArgs is aws:rds/clusterParameterGroup:ClusterParameterGroup.
type DatabaseParametersArgs struct {
	Name        string              `pulumi:"name"`
	Family      string              `pulumi:"family"`
	Description string              `pulumi:"description"`
	Parameters  []DatabaseParameter `pulumi:"parameters"`
	Tags        map[string]string   `pulumi:"tags"`
}

// DatabaseParameter is one setting.
type DatabaseParameter struct {
	Name        string `pulumi:"name"`
	Value       string `pulumi:"value"`
	ApplyMethod string `pulumi:"applyMethod"`
}

func (DatabaseParametersArgs) kind() (string, *Named) {
	return "aws:rds/clusterParameterGroup:ClusterParameterGroup", nil
}

// DatabaseArgs is aws:rds/cluster:Cluster.
type DatabaseArgs struct {
	Identifier         string               `pulumi:"clusterIdentifier"`
	Engine             string               `pulumi:"engine"`
	EngineMode         string               `pulumi:"engineMode"`
	EngineVersion      string               `pulumi:"engineVersion"`
	MasterUsername     string               `pulumi:"masterUsername"`
	ManagePassword     bool                 `pulumi:"manageMasterUserPassword"`
	SecretKey          pulumi.StringInput   `pulumi:"masterUserSecretKmsKeyId"`
	IAMAuthentication  bool                 `pulumi:"iamDatabaseAuthenticationEnabled"`
	SubnetGroup        pulumi.StringInput   `pulumi:"dbSubnetGroupName"`
	ParameterGroup     pulumi.StringInput   `pulumi:"dbClusterParameterGroupName"`
	SecurityGroups     []pulumi.StringInput `pulumi:"vpcSecurityGroupIds"`
	StorageEncrypted   bool                 `pulumi:"storageEncrypted"`
	KMSKey             pulumi.StringInput   `pulumi:"kmsKeyId"`
	BackupDays         int                  `pulumi:"backupRetentionPeriod"`
	CopyTags           bool                 `pulumi:"copyTagsToSnapshot"`
	DeletionProtection bool                 `pulumi:"deletionProtection,zero"`
	SkipFinalSnapshot  bool                 `pulumi:"skipFinalSnapshot,zero"`
	FinalSnapshot      string               `pulumi:"finalSnapshotIdentifier"`
	Scaling            DatabaseScaling      `pulumi:"serverlessv2ScalingConfiguration"`
	LogExports         []string             `pulumi:"enabledCloudwatchLogsExports"`
	Tags               map[string]string    `pulumi:"tags"`
}

// DatabaseScaling is in capacity units.
type DatabaseScaling struct {
	Min float64 `pulumi:"minCapacity,zero"`
	Max float64 `pulumi:"maxCapacity"`
}

// Database is what a cluster tells; its ID is its identifier.
type Database struct {
	pulumi.CustomResourceState
	Arn        pulumi.StringOutput `pulumi:"arn"`
	Endpoint   pulumi.StringOutput `pulumi:"endpoint"`
	ResourceID pulumi.StringOutput `pulumi:"clusterResourceId"`
	Secrets    pulumi.ArrayOutput  `pulumi:"masterUserSecrets"`
}

func (DatabaseArgs) kind() (string, *Database) { return "aws:rds/cluster:Cluster", nil }

// MasterSecret returns the ARN of the secret that RDS keeps the master's password in.
func (d *Database) MasterSecret() pulumi.StringOutput {
	return d.Secrets.ApplyT(func(all []any) string {
		for _, v := range all {
			m, _ := v.(map[string]any)
			if s, ok := m["secretArn"].(string); ok {
				return s
			}
		}
		return ""
	}).(pulumi.StringOutput)
}

// DatabaseInstanceArgs is aws:rds/clusterInstance:ClusterInstance.
type DatabaseInstanceArgs struct {
	Identifier          string             `pulumi:"identifier"`
	Cluster             pulumi.StringInput `pulumi:"clusterIdentifier"`
	Engine              string             `pulumi:"engine"`
	EngineVersion       string             `pulumi:"engineVersion"`
	InstanceClass       string             `pulumi:"instanceClass"`
	PromotionTier       int                `pulumi:"promotionTier,zero"`
	PubliclyAccessible  bool               `pulumi:"publiclyAccessible,zero"`
	PerformanceInsights bool               `pulumi:"performanceInsightsEnabled"`
	Tags                map[string]string  `pulumi:"tags"`
}

func (DatabaseInstanceArgs) kind() (string, *Resource) {
	return "aws:rds/clusterInstance:ClusterInstance", nil
}

// CacheParametersArgs is aws:elasticache/parameterGroup:ParameterGroup.
type CacheParametersArgs struct {
	Name        string            `pulumi:"name"`
	Family      string            `pulumi:"family"`
	Description string            `pulumi:"description"`
	Parameters  []CacheParameter  `pulumi:"parameters"`
	Tags        map[string]string `pulumi:"tags"`
}

// CacheParameter is a setting of a cache.
type CacheParameter struct {
	Name  string `pulumi:"name"`
	Value string `pulumi:"value"`
}

func (CacheParametersArgs) kind() (string, *Named) {
	return "aws:elasticache/parameterGroup:ParameterGroup", nil
}

// CacheSubnetsArgs is aws:elasticache/subnetGroup:SubnetGroup.
type CacheSubnetsArgs struct {
	Name        string               `pulumi:"name"`
	Description string               `pulumi:"description"`
	SubnetIDs   []pulumi.StringInput `pulumi:"subnetIds"`
	Tags        map[string]string    `pulumi:"tags"`
}

func (CacheSubnetsArgs) kind() (string, *Named) {
	return "aws:elasticache/subnetGroup:SubnetGroup", nil
}

// CacheUserArgs is aws:elasticache/user:User.
type CacheUserArgs struct {
	UserID         string               `pulumi:"userId"`
	UserName       string               `pulumi:"userName"`
	Engine         string               `pulumi:"engine"`
	AccessString   string               `pulumi:"accessString"`
	NoPassword     bool                 `pulumi:"noPasswordRequired"`
	Authentication *CacheAuthentication `pulumi:"authenticationMode"`
	Tags           map[string]string    `pulumi:"tags"`
}

// CacheAuthentication says how a user logs in.
type CacheAuthentication struct {
	Type string `pulumi:"type"` // iam, password or no-password-required
}

func (CacheUserArgs) kind() (string, *Resource) { return "aws:elasticache/user:User", nil }

// CacheGroupArgs is aws:elasticache/userGroup:UserGroup.
type CacheGroupArgs struct {
	UserGroupID string               `pulumi:"userGroupId"`
	Engine      string               `pulumi:"engine"`
	UserIDs     []pulumi.StringInput `pulumi:"userIds"`
	Tags        map[string]string    `pulumi:"tags"`
}

func (CacheGroupArgs) kind() (string, *Resource) { return "aws:elasticache/userGroup:UserGroup", nil }

// CacheArgs is aws:elasticache/replicationGroup:ReplicationGroup.
type CacheArgs struct {
	ID                string               `pulumi:"replicationGroupId"`
	Description       string               `pulumi:"description"`
	Engine            string               `pulumi:"engine"`
	EngineVersion     string               `pulumi:"engineVersion"`
	NodeType          string               `pulumi:"nodeType"`
	Nodes             int                  `pulumi:"numCacheClusters"`
	AutomaticFailover bool                 `pulumi:"automaticFailoverEnabled"`
	MultiAZ           bool                 `pulumi:"multiAzEnabled"`
	SubnetGroup       pulumi.StringInput   `pulumi:"subnetGroupName"`
	ParameterGroup    pulumi.StringInput   `pulumi:"parameterGroupName"`
	SecurityGroups    []pulumi.StringInput `pulumi:"securityGroupIds"`
	UserGroups        []pulumi.StringInput `pulumi:"userGroupIds"`
	AtRest            bool                 `pulumi:"atRestEncryptionEnabled"`
	InTransit         bool                 `pulumi:"transitEncryptionEnabled"`
	KMSKey            pulumi.StringInput   `pulumi:"kmsKeyId"`
	SnapshotDays      int                  `pulumi:"snapshotRetentionLimit"`
	Port              int                  `pulumi:"port"`
	Tags              map[string]string    `pulumi:"tags"`
}

// Cache is what a replication group tells.
type Cache struct {
	pulumi.CustomResourceState
	Arn     pulumi.StringOutput `pulumi:"arn"`
	Primary pulumi.StringOutput `pulumi:"primaryEndpointAddress"`
}

func (CacheArgs) kind() (string, *Cache) {
	return "aws:elasticache/replicationGroup:ReplicationGroup", nil
}
