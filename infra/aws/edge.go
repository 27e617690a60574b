package aws

import "github.com/pulumi/pulumi/sdk/v3/go/pulumi"

// DistributionArgs is aws:cloudfront/distribution:Distribution.
type DistributionArgs struct {
	Comment           string            `pulumi:"comment"`
	Enabled           bool              `pulumi:"enabled,zero"`
	Aliases           []string          `pulumi:"aliases"`
	HTTPVersion       string            `pulumi:"httpVersion"`
	IPv6              bool              `pulumi:"isIpv6Enabled"`
	PriceClass        string            `pulumi:"priceClass"`
	Origins           []Origin          `pulumi:"origins"`
	Default           Behavior          `pulumi:"defaultCacheBehavior"`
	Ordered           []PathBehavior    `pulumi:"orderedCacheBehaviors"`
	Restrictions      Restrictions      `pulumi:"restrictions"`
	ViewerCertificate ViewerCertificate `pulumi:"viewerCertificate"`
	Wait              bool              `pulumi:"waitForDeployment,zero"`
	Tags              map[string]string `pulumi:"tags"`
}

// Origin is where a distribution gets what it serves.
type Origin struct {
	ID            string             `pulumi:"originId"`
	DomainName    pulumi.StringInput `pulumi:"domainName"`
	Path          string             `pulumi:"originPath"`
	AccessControl pulumi.StringInput `pulumi:"originAccessControlId"`
	Custom        *CustomOrigin      `pulumi:"customOriginConfig"`
	Headers       []OriginHeader     `pulumi:"customHeaders"`
}

// CustomOrigin is an origin that is no bucket; times are in seconds.
type CustomOrigin struct {
	HTTPPort       int      `pulumi:"httpPort"`
	HTTPSPort      int      `pulumi:"httpsPort"`
	ProtocolPolicy string   `pulumi:"originProtocolPolicy"`
	SSLProtocols   []string `pulumi:"originSslProtocols"`
	ReadTimeout    int      `pulumi:"originReadTimeout"`
	Keepalive      int      `pulumi:"originKeepaliveTimeout"`
}

// OriginHeader is a header that the origin gets.
type OriginHeader struct {
	Name  string             `pulumi:"name"`
	Value pulumi.StringInput `pulumi:"value"`
}

// Behavior is how requests are served.
type Behavior struct {
	TargetOriginID  string             `pulumi:"targetOriginId"`
	ViewerProtocol  string             `pulumi:"viewerProtocolPolicy"`
	AllowedMethods  []string           `pulumi:"allowedMethods"`
	CachedMethods   []string           `pulumi:"cachedMethods"`
	CachePolicy     string             `pulumi:"cachePolicyId"`
	RequestPolicy   string             `pulumi:"originRequestPolicyId"`
	ResponseHeaders pulumi.StringInput `pulumi:"responseHeadersPolicyId"`
	Compress        bool               `pulumi:"compress"`
	Functions       []EdgeFunction     `pulumi:"functionAssociations"`
}

// PathBehavior is a behavior for some paths. Its fields are Behavior's: inputs
// do not nest as Go does.
type PathBehavior struct {
	PathPattern     string             `pulumi:"pathPattern"`
	TargetOriginID  string             `pulumi:"targetOriginId"`
	ViewerProtocol  string             `pulumi:"viewerProtocolPolicy"`
	AllowedMethods  []string           `pulumi:"allowedMethods"`
	CachedMethods   []string           `pulumi:"cachedMethods"`
	CachePolicy     string             `pulumi:"cachePolicyId"`
	RequestPolicy   string             `pulumi:"originRequestPolicyId"`
	ResponseHeaders pulumi.StringInput `pulumi:"responseHeadersPolicyId"`
	Compress        bool               `pulumi:"compress"`
	Functions       []EdgeFunction     `pulumi:"functionAssociations"`
}

// At returns the behavior for a path's pattern.
func (b Behavior) At(pattern string) PathBehavior {
	return PathBehavior{
		pattern, b.TargetOriginID, b.ViewerProtocol, b.AllowedMethods, b.CachedMethods,
		b.CachePolicy, b.RequestPolicy, b.ResponseHeaders, b.Compress, b.Functions,
	}
}

// EdgeFunction is a function and when it runs.
type EdgeFunction struct {
	EventType string             `pulumi:"eventType"`
	ARN       pulumi.StringInput `pulumi:"functionArn"`
}

// Restrictions says in which countries a distribution answers.
type Restrictions struct {
	Geo GeoRestriction `pulumi:"geoRestriction"`
}

// GeoRestriction is none, whitelist or blacklist.
type GeoRestriction struct {
	Type string `pulumi:"restrictionType"`
}

// ViewerCertificate is what a distribution shows to browsers.
type ViewerCertificate struct {
	ARN             pulumi.StringInput `pulumi:"acmCertificateArn"`
	MinimumProtocol string             `pulumi:"minimumProtocolVersion"`
	SSLSupport      string             `pulumi:"sslSupportMethod"`
}

// Distribution is what a distribution tells.
type Distribution struct {
	pulumi.CustomResourceState
	Arn          pulumi.StringOutput `pulumi:"arn"`
	DomainName   pulumi.StringOutput `pulumi:"domainName"`
	HostedZoneID pulumi.StringOutput `pulumi:"hostedZoneId"`
}

func (DistributionArgs) kind() (string, *Distribution) {
	return "aws:cloudfront/distribution:Distribution", nil
}

// MultitenantArgs is aws:cloudfront/multitenantDistribution:MultitenantDistribution.
type MultitenantArgs struct {
	Comment           string            `pulumi:"comment"`
	Enabled           bool              `pulumi:"enabled,zero"`
	HTTPVersion       string            `pulumi:"httpVersion"`
	Origins           []TenantOrigin    `pulumi:"origins"`
	Default           TenantBehavior    `pulumi:"defaultCacheBehavior"`
	Behaviors         []TenantPath      `pulumi:"cacheBehaviors"`
	Restrictions      Restrictions      `pulumi:"restrictions"`
	ViewerCertificate ViewerCertificate `pulumi:"viewerCertificate"`
	TenantConfig      TenantConfig      `pulumi:"tenantConfig"`
	Tags              map[string]string `pulumi:"tags"`
}

// TenantOrigin is an Origin in the words of a multi-tenant distribution.
type TenantOrigin struct {
	ID            string               `pulumi:"id"`
	DomainName    pulumi.StringInput   `pulumi:"domainName"`
	Path          string               `pulumi:"originPath"`
	AccessControl pulumi.StringInput   `pulumi:"originAccessControlId"`
	Custom        []CustomOrigin       `pulumi:"customOriginConfigs"`
	Headers       []TenantOriginHeader `pulumi:"customHeaders"`
}

// TenantOriginHeader is a header that the origin gets.
type TenantOriginHeader struct {
	Name  string             `pulumi:"headerName"`
	Value pulumi.StringInput `pulumi:"headerValue"`
}

// TenantMethods are the methods of a behavior.
type TenantMethods struct {
	Items  []string `pulumi:"items"`
	Cached []string `pulumi:"cachedMethods"`
}

// TenantBehavior is a Behavior in the words of a multi-tenant distribution.
type TenantBehavior struct {
	TargetOriginID  string             `pulumi:"targetOriginId"`
	ViewerProtocol  string             `pulumi:"viewerProtocolPolicy"`
	AllowedMethods  TenantMethods      `pulumi:"allowedMethods"`
	CachePolicy     string             `pulumi:"cachePolicyId"`
	RequestPolicy   string             `pulumi:"originRequestPolicyId"`
	ResponseHeaders pulumi.StringInput `pulumi:"responseHeadersPolicyId"`
	Compress        bool               `pulumi:"compress"`
	Functions       []EdgeFunction     `pulumi:"functionAssociations"`
}

// TenantPath is a TenantBehavior for some paths.
type TenantPath struct {
	PathPattern     string             `pulumi:"pathPattern"`
	TargetOriginID  string             `pulumi:"targetOriginId"`
	ViewerProtocol  string             `pulumi:"viewerProtocolPolicy"`
	AllowedMethods  TenantMethods      `pulumi:"allowedMethods"`
	CachePolicy     string             `pulumi:"cachePolicyId"`
	RequestPolicy   string             `pulumi:"originRequestPolicyId"`
	ResponseHeaders pulumi.StringInput `pulumi:"responseHeadersPolicyId"`
	Compress        bool               `pulumi:"compress"`
	Functions       []EdgeFunction     `pulumi:"functionAssociations"`
}

// Tenant returns the behavior in the words of a multi-tenant distribution.
func (b Behavior) Tenant() TenantBehavior {
	return TenantBehavior{
		b.TargetOriginID, b.ViewerProtocol,
		TenantMethods{b.AllowedMethods, b.CachedMethods},
		b.CachePolicy, b.RequestPolicy, b.ResponseHeaders, b.Compress, b.Functions,
	}
}

// At returns the behavior for a path's pattern.
func (b TenantBehavior) At(pattern string) TenantPath {
	return TenantPath{
		pattern, b.TargetOriginID, b.ViewerProtocol, b.AllowedMethods,
		b.CachePolicy, b.RequestPolicy, b.ResponseHeaders, b.Compress, b.Functions,
	}
}

// TenantConfig is what each distribution tenant says of itself.
type TenantConfig struct {
	Parameters []ParameterDefinition `pulumi:"parameterDefinitions"`
}

// ParameterDefinition is one parameter.
type ParameterDefinition struct {
	Name        string            `pulumi:"name"`
	Definitions []ParameterSchema `pulumi:"definitions"`
}

// ParameterSchema is a parameter's type.
type ParameterSchema struct {
	Strings []StringSchema `pulumi:"stringSchemas"`
}

// StringSchema is a text.
type StringSchema struct {
	Required bool   `pulumi:"required,zero"`
	Comment  string `pulumi:"comment"`
}

// Multitenant is what a multi-tenant distribution tells.
type Multitenant struct {
	pulumi.CustomResourceState
	Arn pulumi.StringOutput `pulumi:"arn"`
}

func (MultitenantArgs) kind() (string, *Multitenant) {
	return "aws:cloudfront/multitenantDistribution:MultitenantDistribution", nil
}

// DistributionTenantArgs is aws:cloudfront/distributionTenant:DistributionTenant.
type DistributionTenantArgs struct {
	Name            string                `pulumi:"name"`
	DistributionID  pulumi.StringInput    `pulumi:"distributionId"`
	ConnectionGroup pulumi.StringInput    `pulumi:"connectionGroupId"`
	Enabled         bool                  `pulumi:"enabled,zero"`
	Domains         []TenantDomain        `pulumi:"domains"`
	Parameters      []TenantParameter     `pulumi:"parameters"`
	Customizations  *TenantCustomizations `pulumi:"customizations"`
	Wait            bool                  `pulumi:"waitForDeployment,zero"`
	Tags            map[string]string     `pulumi:"tags"`
}

// TenantDomain is a host.
type TenantDomain struct {
	Domain string `pulumi:"domain"`
}

// TenantParameter is a parameter's value.
type TenantParameter struct {
	Name  string             `pulumi:"name"`
	Value pulumi.StringInput `pulumi:"value"`
}

// TenantCustomizations is what differs from the distribution.
type TenantCustomizations struct {
	Certificate TenantCertificate `pulumi:"certificate"`
}

// TenantCertificate is a certificate of the tenant's own.
type TenantCertificate struct {
	ARN pulumi.StringInput `pulumi:"arn"`
}

func (DistributionTenantArgs) kind() (string, *Resource) {
	return "aws:cloudfront/distributionTenant:DistributionTenant", nil
}

// ConnectionGroupArgs is aws:cloudfront/connectionGroup:ConnectionGroup.
type ConnectionGroupArgs struct {
	Name    string            `pulumi:"name"`
	Enabled bool              `pulumi:"enabled,zero"`
	IPv6    bool              `pulumi:"ipv6Enabled"`
	Wait    bool              `pulumi:"waitForDeployment,zero"`
	Tags    map[string]string `pulumi:"tags"`
}

// ConnectionGroup is what a connection group tells.
type ConnectionGroup struct {
	pulumi.CustomResourceState
	Arn             pulumi.StringOutput `pulumi:"arn"`
	RoutingEndpoint pulumi.StringOutput `pulumi:"routingEndpoint"`
}

func (ConnectionGroupArgs) kind() (string, *ConnectionGroup) {
	return "aws:cloudfront/connectionGroup:ConnectionGroup", nil
}

// EdgeFunctionArgs is aws:cloudfront/function:Function.
type EdgeFunctionArgs struct {
	Name           string               `pulumi:"name"`
	Runtime        string               `pulumi:"runtime"`
	Comment        string               `pulumi:"comment"`
	Code           string               `pulumi:"code"`
	Publish        bool                 `pulumi:"publish"`
	KeyValueStores []pulumi.StringInput `pulumi:"keyValueStoreAssociations"`
}

func (EdgeFunctionArgs) kind() (string, *Resource) { return "aws:cloudfront/function:Function", nil }

// KeyValueStoreArgs is aws:cloudfront/keyValueStore:KeyValueStore.
type KeyValueStoreArgs struct {
	Name    string `pulumi:"name"`
	Comment string `pulumi:"comment"`
}

func (KeyValueStoreArgs) kind() (string, *Resource) {
	return "aws:cloudfront/keyValueStore:KeyValueStore", nil
}

// OriginAccessArgs is aws:cloudfront/originAccessControl:OriginAccessControl.
type OriginAccessArgs struct {
	Name            string `pulumi:"name"`
	Description     string `pulumi:"description"`
	OriginType      string `pulumi:"originAccessControlOriginType"`
	SigningBehavior string `pulumi:"signingBehavior"`
	SigningProtocol string `pulumi:"signingProtocol"`
}

func (OriginAccessArgs) kind() (string, *Resource) {
	return "aws:cloudfront/originAccessControl:OriginAccessControl", nil
}

// HeadersPolicyArgs is aws:cloudfront/responseHeadersPolicy:ResponseHeadersPolicy.
type HeadersPolicyArgs struct {
	Name     string          `pulumi:"name"`
	Comment  string          `pulumi:"comment"`
	Security SecurityHeaders `pulumi:"securityHeadersConfig"`
	Remove   RemovedHeaders  `pulumi:"removeHeadersConfig"`
}

// SecurityHeaders are the headers that guard a page.
type SecurityHeaders struct {
	ContentType ContentTypeOptions `pulumi:"contentTypeOptions"`
	Frame       FrameOptions       `pulumi:"frameOptions"`
	Referrer    ReferrerPolicy     `pulumi:"referrerPolicy"`
	Transport   StrictTransport    `pulumi:"strictTransportSecurity"`
}

// ContentTypeOptions is X-Content-Type-Options: nosniff.
type ContentTypeOptions struct {
	Override bool `pulumi:"override,zero"`
}

// FrameOptions is X-Frame-Options.
type FrameOptions struct {
	Option   string `pulumi:"frameOption"`
	Override bool   `pulumi:"override,zero"`
}

// ReferrerPolicy is Referrer-Policy.
type ReferrerPolicy struct {
	Policy   string `pulumi:"referrerPolicy"`
	Override bool   `pulumi:"override,zero"`
}

// StrictTransport is Strict-Transport-Security; the age is in seconds.
type StrictTransport struct {
	MaxAge   int  `pulumi:"accessControlMaxAgeSec"`
	Override bool `pulumi:"override,zero"`
}

// RemovedHeaders are headers that no viewer gets.
type RemovedHeaders struct {
	Items []RemovedHeader `pulumi:"items"`
}

// RemovedHeader is one of them.
type RemovedHeader struct {
	Header string `pulumi:"header"`
}

func (HeadersPolicyArgs) kind() (string, *Plain) {
	return "aws:cloudfront/responseHeadersPolicy:ResponseHeadersPolicy", nil
}
