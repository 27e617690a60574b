package awstest

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

// CloudMap plays namespaces, their services and instances; DNS answers for it.
//
// As AWS: names are unique in a namespace; a service that has instances is not
// deleted, nor is a namespace that has services; what changes is known after a
// while; an instance that is not healthy is in no answer.
type CloudMap struct {
	Delay    time.Duration // until a registration is known
	Negative time.Duration // how long it is remembered that a name is not there
	Quotas   CloudMapQuotas

	mu         sync.Mutex
	namespaces map[string]*types.Namespace // by ID
	services   map[string]*mapService      // by ID
	operations map[string]*types.Operation
	tags       map[string][]types.Tag // by ARN
	next       int
}

// CloudMapQuotas are the account's. Source: "AWS Cloud Map service quotas".
type CloudMapQuotas struct{ InstancesPerNamespace, InstancesPerService int }

type mapService struct {
	types.Service
	instances map[string]*mapInstance
}

type mapInstance struct {
	types.Instance
	health types.HealthStatus
	known  time.Time // from when it is in answers
}

// PlayCloudMap adds a Cloud Map.
func (s *Server) PlayCloudMap() *CloudMap {
	m := &CloudMap{
		Negative: time.Second, Quotas: CloudMapQuotas{InstancesPerNamespace: 2000, InstancesPerService: 1000},
		namespaces: make(map[string]*types.Namespace), services: make(map[string]*mapService),
		operations: make(map[string]*types.Operation), tags: make(map[string][]types.Tag),
	}
	s.services["servicediscovery"] = &targets{mu: &m.mu, names: asIs, calls: map[string]operation{
		"CreatePrivateDnsNamespace": op(m.createNamespace), "DeleteNamespace": op(m.deleteNamespace), "GetNamespace": op(m.getNamespace),
		"ListNamespaces": op(m.listNamespaces), "GetOperation": op(m.getOperation),
		"CreateService": op(m.createService), "GetService": op(m.getService), "UpdateService": op(m.updateService),
		"DeleteService": op(m.deleteService), "ListServices": op(m.listServices),
		"RegisterInstance": op(m.registerInstance), "DeregisterInstance": op(m.deregisterInstance),
		"ListInstances": op(m.listInstances), "DiscoverInstances": op(m.discoverInstances),
		"TagResource": op(m.tagResource), "UntagResource": op(m.untagResource), "ListTagsForResource": op(m.listTags),
	}}
	return m
}

func (m *CloudMap) id(kind string) string {
	m.next++
	return kind + "-" + strings.Repeat("0", 12) + strconv.Itoa(1000+m.next)
}

func (m *CloudMap) done(kind types.OperationType, target types.OperationTargetType, id string) *string {
	now := time.Now()
	o := &types.Operation{
		Id: awssdk.String(m.id("op")), Type: kind, Status: types.OperationStatusSuccess, CreateDate: &now, UpdateDate: &now,
		Targets: map[string]string{string(target): id},
	}
	m.operations[*o.Id] = o
	return o.Id
}

func (m *CloudMap) getOperation(in *servicediscovery.GetOperationInput) (*servicediscovery.GetOperationOutput, *refusal) {
	o := m.operations[awssdk.ToString(in.OperationId)]
	if o == nil {
		return nil, refuse("OperationNotFound", "%s", awssdk.ToString(in.OperationId))
	}
	return &servicediscovery.GetOperationOutput{Operation: o}, nil
}

func (m *CloudMap) createNamespace(in *servicediscovery.CreatePrivateDnsNamespaceInput) (*servicediscovery.CreatePrivateDnsNamespaceOutput, *refusal) {
	for _, n := range m.namespaces {
		if *n.Name == *in.Name {
			return nil, refuse("NamespaceAlreadyExists", "%s", *in.Name)
		}
	}
	n := &types.Namespace{Id: awssdk.String(m.id("ns")), Name: in.Name, Type: types.NamespaceTypeDnsPrivate, Description: in.Description, CreateDate: ptr(time.Now())}
	n.Arn = awssdk.String(arnOf("servicediscovery", "namespace/"+*n.Id))
	m.namespaces[*n.Id] = n
	m.tags[*n.Arn] = in.Tags
	return &servicediscovery.CreatePrivateDnsNamespaceOutput{OperationId: m.done(types.OperationTypeCreateNamespace, types.OperationTargetTypeNamespace, *n.Id)}, nil
}

func (m *CloudMap) namespace(id *string) (*types.Namespace, *refusal) {
	name := awssdk.ToString(id)
	n := m.namespaces[name[strings.LastIndex(name, "/")+1:]]
	if n == nil {
		return nil, refuse("NamespaceNotFound", "%s", name)
	}
	return n, nil
}

func (m *CloudMap) getNamespace(in *servicediscovery.GetNamespaceInput) (*servicediscovery.GetNamespaceOutput, *refusal) {
	n, no := m.namespace(in.Id)
	return &servicediscovery.GetNamespaceOutput{Namespace: n}, no
}

func (m *CloudMap) deleteNamespace(in *servicediscovery.DeleteNamespaceInput) (*servicediscovery.DeleteNamespaceOutput, *refusal) {
	n, no := m.namespace(in.Id)
	if no != nil {
		return nil, no
	}
	for _, s := range m.services {
		if *s.NamespaceId == *n.Id {
			return nil, refuse("ResourceInUse", "The namespace contains services.")
		}
	}
	delete(m.namespaces, *n.Id)
	delete(m.tags, *n.Arn)
	return &servicediscovery.DeleteNamespaceOutput{OperationId: m.done(types.OperationTypeDeleteNamespace, types.OperationTargetTypeNamespace, *n.Id)}, nil
}

func (m *CloudMap) listNamespaces(in *servicediscovery.ListNamespacesInput) (*servicediscovery.ListNamespacesOutput, *refusal) {
	var list []types.NamespaceSummary
	for _, id := range sortedKeys(m.namespaces) {
		n := m.namespaces[id]
		list = append(list, types.NamespaceSummary{Id: n.Id, Arn: n.Arn, Name: n.Name, Type: n.Type, CreateDate: n.CreateDate})
	}
	page, next, no := paged(list, in.NextToken, awssdk.ToInt32(in.MaxResults), 100)
	return &servicediscovery.ListNamespacesOutput{Namespaces: page, NextToken: next}, no
}

var mapName = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$`)

func (m *CloudMap) createService(in *servicediscovery.CreateServiceInput) (*servicediscovery.CreateServiceOutput, *refusal) {
	id := in.NamespaceId
	if id == nil && in.DnsConfig != nil {
		id = in.DnsConfig.NamespaceId //nolint:staticcheck // Pulumi still sets it here
	}
	n, no := m.namespace(id)
	switch {
	case no != nil:
		return nil, no
	case !mapName.MatchString(awssdk.ToString(in.Name)):
		return nil, refuse("InvalidInput", "service name %q", awssdk.ToString(in.Name))
	case in.HealthCheckConfig != nil && in.HealthCheckCustomConfig != nil:
		return nil, refuse("InvalidInput", "One of the two health checks.")
	}
	for _, s := range m.services {
		if *s.NamespaceId == *n.Id && strings.EqualFold(*s.Name, *in.Name) {
			return nil, refuse("ServiceAlreadyExists", "Service already exists.")
		}
	}
	s := &mapService{instances: make(map[string]*mapInstance), Service: types.Service{
		Id: awssdk.String(m.id("srv")), Name: in.Name, NamespaceId: n.Id, Description: in.Description, DnsConfig: in.DnsConfig,
		HealthCheckConfig: in.HealthCheckConfig, HealthCheckCustomConfig: in.HealthCheckCustomConfig, CreateDate: ptr(time.Now()),
		Type: types.ServiceTypeDnsHttp, CreatorRequestId: in.CreatorRequestId,
	}}
	s.Arn = awssdk.String(arnOf("servicediscovery", "service/"+*s.Id))
	m.services[*s.Id] = s
	m.tags[*s.Arn] = in.Tags
	return &servicediscovery.CreateServiceOutput{Service: ptr(s.view())}, nil
}

func (s *mapService) view() types.Service {
	v := s.Service
	v.InstanceCount = awssdk.Int32(int32(len(s.instances))) //nolint:gosec // few
	return v
}

// service returns the one that an ID or ARN means.
func (m *CloudMap) service(id *string) (*mapService, *refusal) {
	name := awssdk.ToString(id)
	s := m.services[name[strings.LastIndex(name, "/")+1:]]
	if s == nil {
		return nil, refuse("ServiceNotFound", "%s", name)
	}
	return s, nil
}

func (m *CloudMap) getService(in *servicediscovery.GetServiceInput) (*servicediscovery.GetServiceOutput, *refusal) {
	s, no := m.service(in.Id)
	if no != nil {
		return nil, no
	}
	return &servicediscovery.GetServiceOutput{Service: ptr(s.view())}, nil
}

func (m *CloudMap) updateService(in *servicediscovery.UpdateServiceInput) (*servicediscovery.UpdateServiceOutput, *refusal) {
	s, no := m.service(in.Id)
	if no != nil {
		return nil, no
	}
	s.Description = in.Service.Description
	if d := in.Service.DnsConfig; d != nil && s.DnsConfig != nil {
		s.DnsConfig.DnsRecords = d.DnsRecords
	}
	return &servicediscovery.UpdateServiceOutput{OperationId: m.done(types.OperationTypeUpdateService, types.OperationTargetTypeService, *s.Id)}, nil
}

func (m *CloudMap) deleteService(in *servicediscovery.DeleteServiceInput) (*servicediscovery.DeleteServiceOutput, *refusal) {
	s, no := m.service(in.Id)
	switch {
	case no != nil:
		return nil, no
	case len(s.instances) > 0:
		return nil, refuse("ResourceInUse", "Service contains registered instances; delete the instances before deleting the service")
	}
	delete(m.services, *s.Id)
	delete(m.tags, *s.Arn)
	return &servicediscovery.DeleteServiceOutput{}, nil
}

func (m *CloudMap) listServices(in *servicediscovery.ListServicesInput) (*servicediscovery.ListServicesOutput, *refusal) {
	var list []types.ServiceSummary
	for _, id := range sortedKeys(m.services) {
		s := m.services[id]
		chosen := true
		for _, f := range in.Filters {
			chosen = chosen && (f.Name != types.ServiceFilterNameNamespaceId || slices.Contains(f.Values, *s.NamespaceId))
		}
		if v := s.view(); chosen {
			list = append(list, types.ServiceSummary{
				Id: v.Id, Arn: v.Arn, Name: v.Name, Type: v.Type, Description: v.Description, InstanceCount: v.InstanceCount,
				DnsConfig: v.DnsConfig, HealthCheckConfig: v.HealthCheckConfig, HealthCheckCustomConfig: v.HealthCheckCustomConfig, CreateDate: v.CreateDate,
			})
		}
	}
	page, next, no := paged(list, in.NextToken, awssdk.ToInt32(in.MaxResults), 100)
	return &servicediscovery.ListServicesOutput{Services: page, NextToken: next}, no
}
