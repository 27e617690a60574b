package provider

import (
	"context"
	"strings"

	awssdk "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/route53"
	"github.com/aws/aws-sdk-go-v2/service/route53/types"
)

// dnsRecord is a record as the provider has it.
type dnsRecord struct {
	ZoneID  string       `json:"zoneId"`
	Name    string       `json:"name"`
	Type    types.RRType `json:"type"`
	TTL     float64      `json:"ttl"`
	Records []string     `json:"records"`
	Aliases []struct {
		Name     string `json:"name"`
		ZoneID   string `json:"zoneId"`
		Evaluate bool   `json:"evaluateTargetHealth"`
	} `json:"aliases"`
	Overwrite bool `json:"allowOverwrite"`
}

func (d dnsRecord) set() *types.ResourceRecordSet {
	s := &types.ResourceRecordSet{Name: &d.Name, Type: d.Type}
	for _, a := range d.Aliases {
		s.AliasTarget = &types.AliasTarget{DNSName: &a.Name, HostedZoneId: &a.ZoneID, EvaluateTargetHealth: a.Evaluate}
	}
	for _, r := range d.Records {
		s.ResourceRecords = append(s.ResourceRecords, types.ResourceRecord{Value: &r})
	}
	if len(d.Records) > 0 {
		s.TTL = awssdk.Int64(int64(d.TTL))
	}
	return s
}

func (d dnsRecord) change(ctx context.Context, c *clients, action types.ChangeAction) error {
	_, err := c.zones.ChangeResourceRecordSets(ctx, &route53.ChangeResourceRecordSetsInput{
		HostedZoneId: &d.ZoneID, ChangeBatch: &types.ChangeBatch{Changes: []types.Change{{Action: action, ResourceRecordSet: d.set()}}},
	})
	return err
}

// find returns the record set of the name and type, or nil. It looks through the whole
// zone: moto does not order records as Route 53 does, where the first from a name on
// would do.
func (d dnsRecord) find(ctx context.Context, c *clients) (*types.ResourceRecordSet, error) {
	pages := route53.NewListResourceRecordSetsPaginator(c.zones, &route53.ListResourceRecordSetsInput{HostedZoneId: &d.ZoneID})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, gone(err)
		}
		for _, s := range page.ResourceRecordSets {
			if strings.TrimSuffix(awssdk.ToString(s.Name), ".") == strings.TrimSuffix(d.Name, ".") && s.Type == d.Type {
				return &s, nil
			}
		}
	}
	return nil, nil
}

var zoneRecord = real{
	create: func(ctx context.Context, c *clients, in Properties) (string, Properties, error) {
		d, err := decode[dnsRecord](in)
		if err != nil {
			return "", nil, err
		}
		action := types.ChangeActionCreate
		if there, err := d.find(ctx, c); err != nil {
			return "", nil, err
		} else if d.Overwrite || there == nil { // moto takes one that was removed, or a later name's, for one that is there
			action = types.ChangeActionUpsert
		}
		return d.ZoneID + "_" + d.Name + "_" + string(d.Type), nil, d.change(ctx, c, action)
	},
	read: func(ctx context.Context, c *clients, _ string, in Properties) (Properties, error) {
		d, err := decode[dnsRecord](in)
		if err != nil {
			return nil, err
		}
		s, err := d.find(ctx, c)
		if err != nil {
			return nil, err
		}
		if s == nil {
			return nil, errGone
		}
		return Properties{"name": d.Name}, nil
	},
	update: func(ctx context.Context, c *clients, _ string, _, news Properties) (Properties, error) {
		d, err := decode[dnsRecord](news)
		if err != nil {
			return nil, err
		}
		return nil, d.change(ctx, c, types.ChangeActionUpsert)
	},
	delete: func(ctx context.Context, c *clients, _ string, state Properties) error {
		d, err := decode[dnsRecord](state)
		if err != nil {
			return err
		}
		s, err := d.find(ctx, c)
		if err != nil || s == nil {
			return err
		}
		return d.change(ctx, c, types.ChangeActionDelete)
	},
}
