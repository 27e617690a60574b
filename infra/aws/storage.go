package aws

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// BucketArgs is aws:s3/bucket:Bucket.
type BucketArgs struct {
	Bucket       string            `pulumi:"bucket"`
	ForceDestroy bool              `pulumi:"forceDestroy,zero"`
	Tags         map[string]string `pulumi:"tags"`
}

// Bucket is what a bucket tells; its ID is its name.
type Bucket struct {
	pulumi.CustomResourceState
	Arn                pulumi.StringOutput `pulumi:"arn"`
	RegionalDomainName pulumi.StringOutput `pulumi:"bucketRegionalDomainName"`
}

func (BucketArgs) kind() (string, *Bucket) { return "aws:s3/bucket:Bucket", nil }

// PublicAccessBlockArgs is aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock.
type PublicAccessBlockArgs struct {
	Bucket                pulumi.StringInput `pulumi:"bucket"`
	BlockPublicAcls       bool               `pulumi:"blockPublicAcls"`
	BlockPublicPolicy     bool               `pulumi:"blockPublicPolicy"`
	IgnorePublicAcls      bool               `pulumi:"ignorePublicAcls"`
	RestrictPublicBuckets bool               `pulumi:"restrictPublicBuckets"`
}

func (PublicAccessBlockArgs) kind() (string, *Plain) {
	return "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", nil
}

// BucketPolicyArgs is aws:s3/bucketPolicy:BucketPolicy.
type BucketPolicyArgs struct {
	Bucket pulumi.StringInput `pulumi:"bucket"`
	Policy pulumi.StringInput `pulumi:"policy"`
}

func (BucketPolicyArgs) kind() (string, *Plain) { return "aws:s3/bucketPolicy:BucketPolicy", nil }

// BucketLifecycleArgs is aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration.
type BucketLifecycleArgs struct {
	Bucket pulumi.StringInput `pulumi:"bucket"`
	Rules  []LifecycleRule    `pulumi:"rules"`
}

// LifecycleRule says when objects below a prefix go.
type LifecycleRule struct {
	ID         string            `pulumi:"id"`
	Status     string            `pulumi:"status"`
	Filter     LifecycleFilter   `pulumi:"filter,zero"`
	Expiration *LifecycleDays    `pulumi:"expiration"`
	Noncurrent *LifecycleOld     `pulumi:"noncurrentVersionExpiration"`
	Incomplete *LifecycleUploads `pulumi:"abortIncompleteMultipartUpload"`
}

// LifecycleFilter says which objects a rule is for: all, without a prefix.
type LifecycleFilter struct {
	Prefix string `pulumi:"prefix"`
}

// LifecycleDays is an age.
type LifecycleDays struct {
	Days int `pulumi:"days"`
}

// LifecycleOld is the age of a version that is no longer current.
type LifecycleOld struct {
	Days int `pulumi:"noncurrentDays"`
}

// LifecycleUploads is the age of an upload that was never completed.
type LifecycleUploads struct {
	Days int `pulumi:"daysAfterInitiation"`
}

func (BucketLifecycleArgs) kind() (string, *Plain) {
	return "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration", nil
}

// BucketEncryptionArgs is aws:s3/bucketServerSideEncryptionConfiguration:….
type BucketEncryptionArgs struct {
	Bucket pulumi.StringInput `pulumi:"bucket"`
	Rules  []EncryptionRule   `pulumi:"rules"`
}

// EncryptionRule is how objects are encrypted.
type EncryptionRule struct {
	Default   EncryptionDefault `pulumi:"applyServerSideEncryptionByDefault"`
	BucketKey bool              `pulumi:"bucketKeyEnabled"`
}

// EncryptionDefault is an algorithm and its key.
type EncryptionDefault struct {
	Algorithm string             `pulumi:"sseAlgorithm"`
	Key       pulumi.StringInput `pulumi:"kmsMasterKeyId"`
}

func (BucketEncryptionArgs) kind() (string, *Plain) {
	return "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration", nil
}

// BucketVersioningArgs is aws:s3/bucketVersioning:BucketVersioning.
type BucketVersioningArgs struct {
	Bucket     pulumi.StringInput `pulumi:"bucket"`
	Versioning VersioningStatus   `pulumi:"versioningConfiguration"`
}

// VersioningStatus is Enabled or Suspended.
type VersioningStatus struct {
	Status string `pulumi:"status"`
}

func (BucketVersioningArgs) kind() (string, *Plain) {
	return "aws:s3/bucketVersioning:BucketVersioning", nil
}

// FileSystemArgs is aws:efs/fileSystem:FileSystem.
type FileSystemArgs struct {
	CreationToken     string             `pulumi:"creationToken"`
	Encrypted         bool               `pulumi:"encrypted"`
	KMSKeyID          pulumi.StringInput `pulumi:"kmsKeyId"`
	ThroughputMode    string             `pulumi:"throughputMode"`
	LifecyclePolicies []FileLifecycle    `pulumi:"lifecyclePolicies"`
	Tags              map[string]string  `pulumi:"tags"`
}

// FileLifecycle is one move of files between storage classes.
type FileLifecycle struct {
	TransitionToIA      string `pulumi:"transitionToIa"`
	TransitionToPrimary string `pulumi:"transitionToPrimaryStorageClass"`
}

func (FileSystemArgs) kind() (string, *Resource) { return "aws:efs/fileSystem:FileSystem", nil }

// MountTargetArgs is aws:efs/mountTarget:MountTarget.
type MountTargetArgs struct {
	FileSystemID   pulumi.StringInput   `pulumi:"fileSystemId"`
	SubnetID       pulumi.StringInput   `pulumi:"subnetId"`
	SecurityGroups []pulumi.StringInput `pulumi:"securityGroups"`
}

func (MountTargetArgs) kind() (string, *Plain) { return "aws:efs/mountTarget:MountTarget", nil }

// FileBackupArgs is aws:efs/backupPolicy:BackupPolicy.
type FileBackupArgs struct {
	FileSystemID pulumi.StringInput `pulumi:"fileSystemId"`
	Policy       BackupStatus       `pulumi:"backupPolicy"`
}

// BackupStatus is ENABLED or DISABLED.
type BackupStatus struct {
	Status string `pulumi:"status"`
}

func (FileBackupArgs) kind() (string, *Plain) { return "aws:efs/backupPolicy:BackupPolicy", nil }

// FileSystemPolicyArgs is aws:efs/fileSystemPolicy:FileSystemPolicy.
type FileSystemPolicyArgs struct {
	FileSystemID pulumi.StringInput `pulumi:"fileSystemId"`
	Policy       pulumi.StringInput `pulumi:"policy"`
}

func (FileSystemPolicyArgs) kind() (string, *Plain) {
	return "aws:efs/fileSystemPolicy:FileSystemPolicy", nil
}

// AccessPointArgs is aws:efs/accessPoint:AccessPoint.
type AccessPointArgs struct {
	FileSystemID  pulumi.StringInput `pulumi:"fileSystemId"`
	PosixUser     PosixUser          `pulumi:"posixUser"`
	RootDirectory RootDirectory      `pulumi:"rootDirectory"`
	Tags          map[string]string  `pulumi:"tags"`
}

// PosixUser is whom all is done as.
type PosixUser struct {
	UID int `pulumi:"uid,zero"`
	GID int `pulumi:"gid,zero"`
}

// RootDirectory is what is seen, made when it is missing.
type RootDirectory struct {
	Path     string       `pulumi:"path"`
	Creation CreationInfo `pulumi:"creationInfo"`
}

// CreationInfo is how a directory is made; the permissions are octal.
type CreationInfo struct {
	OwnerUID    int    `pulumi:"ownerUid,zero"`
	OwnerGID    int    `pulumi:"ownerGid,zero"`
	Permissions string `pulumi:"permissions"`
}

func (AccessPointArgs) kind() (string, *Resource) { return "aws:efs/accessPoint:AccessPoint", nil }

// KMSKeyArgs is aws:kms/key:Key.
type KMSKeyArgs struct {
	Description          string             `pulumi:"description"`
	EnableKeyRotation    bool               `pulumi:"enableKeyRotation"`
	DeletionWindowInDays int                `pulumi:"deletionWindowInDays"`
	Policy               pulumi.StringInput `pulumi:"policy"`
	Tags                 map[string]string  `pulumi:"tags"`
}

func (KMSKeyArgs) kind() (string, *Resource) { return "aws:kms/key:Key", nil }

// KMSAliasArgs is aws:kms/alias:Alias.
type KMSAliasArgs struct {
	Name        string             `pulumi:"name"`
	TargetKeyID pulumi.StringInput `pulumi:"targetKeyId"`
}

func (KMSAliasArgs) kind() (string, *Resource) { return "aws:kms/alias:Alias", nil }

// RepositoryArgs is aws:ecr/repository:Repository.
type RepositoryArgs struct {
	Name          string                 `pulumi:"name"`
	TagMutability string                 `pulumi:"imageTagMutability"`
	ForceDelete   bool                   `pulumi:"forceDelete"`
	Scanning      RepositoryScanning     `pulumi:"imageScanningConfiguration"`
	Encryption    []RepositoryEncryption `pulumi:"encryptionConfigurations"`
	Tags          map[string]string      `pulumi:"tags"`
}

// RepositoryScanning says when images are scanned.
type RepositoryScanning struct {
	OnPush bool `pulumi:"scanOnPush"`
}

// RepositoryEncryption is by what images are encrypted.
type RepositoryEncryption struct {
	Type string             `pulumi:"encryptionType"`
	Key  pulumi.StringInput `pulumi:"kmsKey"`
}

// Repository is what a repository tells; its ID is its name.
type Repository struct {
	pulumi.CustomResourceState
	Arn pulumi.StringOutput `pulumi:"arn"`
	URL pulumi.StringOutput `pulumi:"repositoryUrl"`
}

func (RepositoryArgs) kind() (string, *Repository) { return "aws:ecr/repository:Repository", nil }

// ImageLifecycleArgs is aws:ecr/lifecyclePolicy:LifecyclePolicy.
type ImageLifecycleArgs struct {
	Repository pulumi.StringInput `pulumi:"repository"`
	Policy     pulumi.StringInput `pulumi:"policy"`
}

func (ImageLifecycleArgs) kind() (string, *Plain) {
	return "aws:ecr/lifecyclePolicy:LifecyclePolicy", nil
}
