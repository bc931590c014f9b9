package cloud

import (
	"context"
	"net/netip"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/nova"
	"github.com/kintoun/kintoun/network"
)

// securityGroups gives Nova's deprecated security group calls the groups of the network service.
type securityGroups struct{ network *network.Service }

var _ nova.SecurityGroups = securityGroups{}

func (s securityGroups) SecurityGroups(ctx context.Context, scope compute.Scope) ([]nova.SecurityGroup, error) {
	if err := s.network.EnsureDefaultGroup(ctx, scope.ProjectID); err != nil {
		return nil, err
	}
	found, err := s.network.SecurityGroups(ctx, networkScope(scope), network.Eq("project_id", scope.ProjectID))
	if err != nil {
		return nil, err
	}
	return s.describe(ctx, found)
}

func (s securityGroups) SecurityGroup(ctx context.Context, scope compute.Scope, id string) (nova.SecurityGroup, error) {
	return s.one(ctx)(s.network.SecurityGroup(ctx, networkScope(scope), id))
}

func (s securityGroups) CreateSecurityGroup(ctx context.Context, scope compute.Scope, name, description string) (nova.SecurityGroup, error) {
	return s.one(ctx)(s.network.CreateSecurityGroup(ctx, networkScope(scope), network.SecurityGroupSpec{Name: &name, Description: &description}))
}

func (s securityGroups) UpdateSecurityGroup(ctx context.Context, scope compute.Scope, id, name, description string) (nova.SecurityGroup, error) {
	return s.one(ctx)(s.network.UpdateSecurityGroup(ctx, networkScope(scope), id, network.SecurityGroupSpec{Name: &name, Description: &description}))
}

func (s securityGroups) DeleteSecurityGroup(ctx context.Context, scope compute.Scope, id string) error {
	return s.network.DeleteSecurityGroup(ctx, networkScope(scope), id)
}

func (s securityGroups) CreateSecurityGroupRule(ctx context.Context, scope compute.Scope, groupID string, rule nova.SecurityGroupRule) (nova.SecurityGroupRule, error) {
	spec := network.SecurityGroupRuleSpec{
		GroupID: groupID, Direction: "ingress", EtherType: "IPv4", Protocol: rule.Protocol, PortMin: rule.FromPort, PortMax: rule.ToPort, RemoteGroupID: rule.GroupID,
	}
	if rule.CIDR != "" {
		prefix, err := netip.ParsePrefix(rule.CIDR)
		if err != nil {
			return nova.SecurityGroupRule{}, err
		}
		spec.RemotePrefix = prefix
		if prefix.Addr().Is6() {
			spec.EtherType = "IPv6"
		}
	}
	made, err := s.network.CreateSecurityGroupRule(ctx, networkScope(scope), spec)
	if err != nil {
		return nova.SecurityGroupRule{}, err
	}
	return s.rule(ctx, made)
}

func (s securityGroups) DeleteSecurityGroupRule(ctx context.Context, scope compute.Scope, id string) error {
	return s.network.DeleteSecurityGroupRule(ctx, networkScope(scope), id)
}

// one describes a group that was just read or changed.
func (s securityGroups) one(ctx context.Context) func(*network.SecurityGroup, error) (nova.SecurityGroup, error) {
	return func(g *network.SecurityGroup, err error) (nova.SecurityGroup, error) {
		if err != nil {
			return nova.SecurityGroup{}, err
		}
		all, err := s.describe(ctx, []network.SecurityGroup{*g})
		if err != nil {
			return nova.SecurityGroup{}, err
		}
		return all[0], nil
	}
}

func (s securityGroups) describe(ctx context.Context, found []network.SecurityGroup) ([]nova.SecurityGroup, error) {
	described := make([]nova.SecurityGroup, len(found))
	for i := range found {
		g := &found[i]
		described[i] = nova.SecurityGroup{ID: g.ID, Name: g.Name, Description: g.Description, ProjectID: g.ProjectID}
		for j := range g.Rules {
			if g.Rules[j].Direction != "ingress" {
				continue
			}
			rule, err := s.rule(ctx, &g.Rules[j])
			if err != nil {
				return nil, err
			}
			described[i].Rules = append(described[i].Rules, rule)
		}
	}
	return described, nil
}

func (s securityGroups) rule(ctx context.Context, r *network.SecurityGroupRule) (nova.SecurityGroupRule, error) {
	described := nova.SecurityGroupRule{ID: r.ID, Protocol: r.Protocol, FromPort: r.PortMin, ToPort: r.PortMax, GroupID: r.RemoteGroupID}
	switch {
	case r.RemoteGroupID != "":
		remote, err := s.network.SecurityGroup(ctx, network.System, r.RemoteGroupID)
		if err != nil {
			return described, err
		}
		described.GroupName, described.GroupProject = remote.Name, remote.ProjectID
	case r.RemotePrefix.IsValid():
		described.CIDR = r.RemotePrefix.String()
	case r.EtherType == "IPv6":
		described.CIDR = "::/0"
	default:
		described.CIDR = "0.0.0.0/0"
	}
	return described, nil
}
