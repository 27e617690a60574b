package awstest

import (
	"slices"
	"strings"
	"time"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery"
	"github.com/aws/aws-sdk-go-v2/service/servicediscovery/types"
)

// What ECS does with Cloud Map.

// has reports whether there is such a service.
func (m *CloudMap) has(arn string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, no := m.service(&arn)
	return no == nil
}

// register makes a task known, unless it is to end by then.
func (m *CloudMap) register(arn, id string, attributes map[string]string, ended <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-ended:
		return
	default:
	}
	if s, no := m.service(&arn); no == nil {
		health := types.HealthStatusHealthy
		if s.HealthCheckCustomConfig != nil {
			health = types.HealthStatusUnhealthy // until ECS says otherwise
		}
		_ = m.put(s, id, attributes, health) // over a quota it stays unknown, as on AWS
	}
}

func (m *CloudMap) healthy(arn, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, no := m.service(&arn); no == nil && s.instances[id] != nil {
		s.instances[id].health = types.HealthStatusHealthy
	}
}

func (m *CloudMap) deregister(arn, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s, no := m.service(&arn); no == nil {
		delete(s.instances, id)
	}
}

func (m *CloudMap) put(s *mapService, id string, attributes map[string]string, health types.HealthStatus) *refusal {
	inNamespace := 0
	for _, o := range m.services {
		if *o.NamespaceId == *s.NamespaceId {
			inNamespace += len(o.instances)
		}
	}
	if s.instances[id] == nil && (inNamespace >= m.Quotas.InstancesPerNamespace || len(s.instances) >= m.Quotas.InstancesPerService) {
		return refuse("ResourceLimitExceeded", "Too many instances.")
	}
	s.instances[id] = &mapInstance{
		health: health, known: time.Now().Add(m.Delay),
		Instance: types.Instance{Id: awssdk.String(id), Attributes: attributes},
	}
	return nil
}

func (m *CloudMap) registerInstance(in *servicediscovery.RegisterInstanceInput) (*servicediscovery.RegisterInstanceOutput, *refusal) {
	s, no := m.service(in.ServiceId)
	if no == nil {
		no = m.put(s, *in.InstanceId, in.Attributes, types.HealthStatusHealthy)
	}
	if no != nil {
		return nil, no
	}
	return &servicediscovery.RegisterInstanceOutput{OperationId: m.done(types.OperationTypeRegisterInstance, types.OperationTargetTypeInstance, *in.InstanceId)}, nil
}

func (m *CloudMap) deregisterInstance(in *servicediscovery.DeregisterInstanceInput) (*servicediscovery.DeregisterInstanceOutput, *refusal) {
	s, no := m.service(in.ServiceId)
	switch {
	case no != nil:
		return nil, no
	case s.instances[*in.InstanceId] == nil:
		return nil, refuse("InstanceNotFound", "%s", *in.InstanceId)
	}
	delete(s.instances, *in.InstanceId)
	return &servicediscovery.DeregisterInstanceOutput{OperationId: m.done(types.OperationTypeDeregisterInstance, types.OperationTargetTypeInstance, *in.InstanceId)}, nil
}

func (m *CloudMap) listInstances(in *servicediscovery.ListInstancesInput) (*servicediscovery.ListInstancesOutput, *refusal) {
	s, no := m.service(in.ServiceId)
	if no != nil {
		return nil, no
	}
	var list []types.InstanceSummary
	for _, id := range sortedKeys(s.instances) {
		list = append(list, types.InstanceSummary{Id: awssdk.String(id), Attributes: s.instances[id].Attributes})
	}
	page, next, no := paged(list, in.NextToken, awssdk.ToInt32(in.MaxResults), 100)
	return &servicediscovery.ListInstancesOutput{Instances: page, NextToken: next}, no
}

func (m *CloudMap) discoverInstances(in *servicediscovery.DiscoverInstancesInput) (*servicediscovery.DiscoverInstancesOutput, *refusal) {
	namespace := ""
	for id, n := range m.namespaces {
		if *n.Name == awssdk.ToString(in.NamespaceName) {
			namespace = id
		}
	}
	if namespace == "" {
		return nil, refuse("NamespaceNotFound", "%s", awssdk.ToString(in.NamespaceName))
	}
	s := m.named(namespace, awssdk.ToString(in.ServiceName))
	if s == nil {
		return nil, refuse("ServiceNotFound", "%s", awssdk.ToString(in.ServiceName))
	}
	var out servicediscovery.DiscoverInstancesOutput
	most := int(awssdk.ToInt32(in.MaxResults))
	if most == 0 {
		most = 100
	}
	for _, i := range s.answered(func(h types.HealthStatus) bool {
		return in.HealthStatus == "" || in.HealthStatus == types.HealthStatusFilterAll || string(in.HealthStatus) == string(h)
	}) {
		if len(out.Instances) < most {
			out.Instances = append(out.Instances, types.HttpInstanceSummary{
				InstanceId: i.Id, Attributes: i.Attributes, HealthStatus: i.health, NamespaceName: in.NamespaceName, ServiceName: in.ServiceName,
			})
		}
	}
	return &out, nil
}

func (m *CloudMap) named(namespace, name string) *mapService {
	for _, s := range m.services {
		if *s.NamespaceId == namespace && strings.EqualFold(*s.Name, name) {
			return s
		}
	}
	return nil
}

// answered returns the instances that are known by now.
func (s *mapService) answered(chosen func(types.HealthStatus) bool) []*mapInstance {
	var list []*mapInstance
	for _, id := range sortedKeys(s.instances) {
		if i := s.instances[id]; !time.Now().Before(i.known) && chosen(i.health) {
			list = append(list, i)
		}
	}
	return list
}

func (m *CloudMap) tagResource(in *servicediscovery.TagResourceInput) (*servicediscovery.TagResourceOutput, *refusal) {
	if _, there := m.tags[*in.ResourceARN]; !there {
		return nil, refuse("ResourceNotFoundException", "%s", *in.ResourceARN)
	}
	for _, t := range in.Tags {
		m.tags[*in.ResourceARN] = append(slices.DeleteFunc(slices.Clone(m.tags[*in.ResourceARN]), func(o types.Tag) bool { return *o.Key == *t.Key }), t)
	}
	return &servicediscovery.TagResourceOutput{}, nil
}

func (m *CloudMap) untagResource(in *servicediscovery.UntagResourceInput) (*servicediscovery.UntagResourceOutput, *refusal) {
	if _, there := m.tags[*in.ResourceARN]; !there {
		return nil, refuse("ResourceNotFoundException", "%s", *in.ResourceARN)
	}
	m.tags[*in.ResourceARN] = slices.DeleteFunc(slices.Clone(m.tags[*in.ResourceARN]), func(o types.Tag) bool { return slices.Contains(in.TagKeys, *o.Key) })
	return &servicediscovery.UntagResourceOutput{}, nil
}

func (m *CloudMap) listTags(in *servicediscovery.ListTagsForResourceInput) (*servicediscovery.ListTagsForResourceOutput, *refusal) {
	tags, there := m.tags[*in.ResourceARN]
	if !there {
		return nil, refuse("ResourceNotFoundException", "%s", *in.ResourceARN)
	}
	return &servicediscovery.ListTagsForResourceOutput{Tags: tags}, nil
}
