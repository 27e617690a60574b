package iamtest

import (
	"maps"
	"slices"
	"strings"
)

// prefixes are what IAM calls a service whose package the SDK calls otherwise.
var prefixes = map[string]string{
	"applicationautoscaling": "application-autoscaling", "cloudfrontkeyvaluestore": "cloudfront-keyvaluestore",
	"cloudwatchlogs": "logs", "efs": "elasticfilesystem", "sfn": "states", "eventbridge": "events", "resourcegroupstaggingapi": "tag",
}

// renamed are the actions of calls that are not called as their call is.
// Source: Service Authorization Reference of each service; for S3, "Required
// permissions for Amazon S3 API operations".
var renamed = map[string][]string{
	"s3:HeadBucket":                      {"s3:ListBucket"},
	"s3:ListObjects":                     {"s3:ListBucket"},
	"s3:ListObjectsV2":                   {"s3:ListBucket"},
	"s3:ListObjectVersions":              {"s3:ListBucketVersions"},
	"s3:ListMultipartUploads":            {"s3:ListBucketMultipartUploads"},
	"s3:HeadObject":                      {"s3:GetObject"},
	"s3:CopyObject":                      {"s3:GetObject", "s3:PutObject"},
	"s3:CreateMultipartUpload":           {"s3:PutObject"},
	"s3:UploadPart":                      {"s3:PutObject"},
	"s3:CompleteMultipartUpload":         {"s3:PutObject"},
	"s3:UploadPartCopy":                  {"s3:GetObject", "s3:PutObject"},
	"s3:ListParts":                       {"s3:ListMultipartUploadParts"},
	"s3:DeleteObjects":                   {"s3:DeleteObject", "s3:DeleteObjectVersion"},
	"s3:GetBucketEncryption":             {"s3:GetEncryptionConfiguration"},
	"s3:DeleteBucketTagging":             {"s3:PutBucketTagging"},
	"s3:DeletePublicAccessBlock":         {"s3:PutBucketPublicAccessBlock"},
	"cloudfront:CopyDistribution":        {"cloudfront:CopyDistribution", "cloudfront:CreateDistribution", "cloudfront:GetDistribution"},
	"secretsmanager:BatchGetSecretValue": {"secretsmanager:BatchGetSecretValue", "secretsmanager:GetSecretValue"},
	"sts:GetCallerIdentity":              {}, // needs none
}

// implied are actions that another one needs, because of what our data are
// encrypted by, or to be told what is the matter.
var implied = map[string][]string{
	"s3:GetObject":                  {"kms:Decrypt", "s3:ListBucket"}, // without the list a key that is not there is 403, not 404
	"s3:PutObject":                  {"kms:GenerateDataKey", "kms:Decrypt"},
	"secretsmanager:GetSecretValue": {"kms:Decrypt"},
	"secretsmanager:PutSecretValue": {"kms:GenerateDataKey", "kms:Decrypt"},
	"secretsmanager:CreateSecret":   {"kms:GenerateDataKey", "kms:Decrypt", "secretsmanager:TagResource"}, // ours have tags from the beginning
	"elasticache:CreateUser":        {"elasticache:AddTagsToResource"},
}

// actions returns what IAM must allow for calls to be made, in order.
func actions(calls []call) []string {
	all := map[string]bool{}
	var add func(string)
	add = func(a string) {
		if !all[a] {
			all[a] = true
			for _, more := range implied[a] {
				add(more)
			}
		}
	}
	for _, c := range calls {
		service := c.service
		if p := prefixes[service]; p != "" {
			service = p
		}
		names, other := renamed[service+":"+c.operation]
		if !other {
			names = []string{service + ":" + c.operation}
		}
		for _, name := range names {
			add(name)
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// fields returns actions of a service, named without it.
func fields(service, names string) []string {
	var out []string
	for name := range strings.FieldsSeq(names) {
		out = append(out, service+":"+name)
	}
	return out
}
