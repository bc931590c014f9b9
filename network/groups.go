package network

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kintoun/kintoun/internal/record"
)

const defaultGroup = "default"

// SecurityGroupSpec is what to create or change; nil is the default, or unchanged.
type SecurityGroupSpec struct {
	ProjectID         string
	Name, Description *string
}

// CreateSecurityGroup makes a group that lets everything out and nothing in.
func (s *Service) CreateSecurityGroup(ctx context.Context, scope Scope, spec SecurityGroupSpec) (*SecurityGroup, error) {
	project, err := scope.owner(spec.ProjectID, "create_security_group")
	if err != nil {
		return nil, err
	}
	var made *SecurityGroup
	err = s.update(ctx, func(tx *record.Tx) error {
		if err := s.ensureDefaultGroup(tx, project); err != nil {
			return err
		}
		if given(spec.Name) && *spec.Name == defaultGroup {
			return refuse(ErrConflict, "SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
		}
		if err := s.charge(tx, project, "security_group", 1); err != nil {
			return err
		}
		made, err = s.newGroup(tx, project, spec)
		return err
	})
	return made, err
}

func (s *Service) newGroup(tx *record.Tx, project string, spec SecurityGroupSpec) (*SecurityGroup, error) {
	g := &SecurityGroup{Meta: s.newMeta(project, spec.Name, spec.Description), Stateful: true}
	if err := s.groups.Insert(tx, g); err != nil {
		return nil, err
	}
	directions := []string{"egress"}
	if g.Name == defaultGroup {
		directions = append(directions, "ingress")
	}
	for _, direction := range directions {
		for _, ether := range []string{"IPv4", "IPv6"} {
			r := SecurityGroupRule{Meta: s.newMeta(project, nil, nil), GroupID: g.ID, Direction: direction, EtherType: ether}
			if direction == "ingress" {
				r.RemoteGroupID = g.ID
			}
			if err := s.rules.Insert(tx, &r); err != nil {
				return nil, err
			}
			g.Rules = append(g.Rules, r)
		}
	}
	return g, nil
}

// ensureDefaultGroup makes the project's default group if it is not there.
func (s *Service) ensureDefaultGroup(tx *record.Tx, project string) error {
	if project == "" {
		return nil
	}
	_, err := s.defaultGroupID(tx, project)
	return err
}

func (s *Service) defaultGroupID(tx *record.Tx, project string) (string, error) {
	id, err := s.store.Holder(tx, "default group", project)
	if err != nil || id != "" {
		return id, err
	}
	g, err := s.newGroup(tx, project, SecurityGroupSpec{Name: new(defaultGroup), Description: new("Default security group")})
	if err != nil {
		return "", err
	}
	return g.ID, nil
}

// UpdateSecurityGroup changes a group's name or description.
func (s *Service) UpdateSecurityGroup(ctx context.Context, scope Scope, id string, spec SecurityGroupSpec) (*SecurityGroup, error) {
	var changed *SecurityGroup
	err := s.update(ctx, func(tx *record.Tx) error {
		g, err := s.ownGroup(tx, scope, id)
		if err != nil {
			return err
		}
		if spec.Name != nil && *spec.Name != g.Name && (g.Name == defaultGroup || *spec.Name == defaultGroup) {
			return refuse(ErrConflict, "SecurityGroupCannotUpdateDefault", "Updating default security group not allowed.")
		}
		g.update(s.now(), spec.Name, spec.Description)
		if err := s.groups.Update(tx, g); err != nil {
			return err
		}
		changed = g
		return s.fillRules(tx, changed)
	})
	return changed, err
}

// DeleteSecurityGroup removes a group that no port has.
func (s *Service) DeleteSecurityGroup(ctx context.Context, scope Scope, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		g, err := s.ownGroup(tx, scope, id)
		if err != nil {
			return err
		}
		if g.Name == defaultGroup && !scope.Admin {
			return refuse(ErrConflict, "SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group.")
		}
		used, err := s.ports.Count(tx, record.Contains("security_groups", ","+id+","))
		if err != nil {
			return err
		}
		if used > 0 {
			return refuse(ErrInUse, "SecurityGroupInUse", "Security Group %s in use.", id)
		}
		// Its own rules, and those of other groups that name it.
		rules, err := s.rules.List(tx, record.Query{Where: []record.Condition{record.Any(record.Eq("security_group_id", id), record.Eq("remote_group_id", id))}})
		if err != nil {
			return err
		}
		for i := range rules {
			if err := s.dropRule(tx, &rules[i]); err != nil {
				return err
			}
		}
		return s.groups.Delete(tx, id)
	})
}

// SecurityGroup returns a group with its rules.
func (s *Service) SecurityGroup(ctx context.Context, scope Scope, id string) (*SecurityGroup, error) {
	tx := s.store.Read(ctx)
	g, err := s.ownGroup(tx, scope, id)
	if err != nil {
		return nil, err
	}
	return g, s.fillRules(tx, g)
}

// SecurityGroups lists the scope's groups with their rules. The project's default group is made if need be.
func (s *Service) SecurityGroups(ctx context.Context, scope Scope, q Query) ([]SecurityGroup, error) {
	if err := s.EnsureDefaultGroup(ctx, scope.ProjectID); err != nil {
		return nil, err
	}
	found, err := list(ctx, s, s.groups, groupAttributes, q, ownedBy(scope)...)
	if err != nil {
		return nil, err
	}
	list := make([]*SecurityGroup, len(found))
	for i := range found {
		list[i] = &found[i]
	}
	return found, s.fillRules(s.store.Read(ctx), list...)
}

// EnsureDefaultGroup makes a project's default group if it is not there.
func (s *Service) EnsureDefaultGroup(ctx context.Context, project string) error {
	if project == "" {
		return nil
	}
	id, err := s.store.Holder(s.store.Read(ctx), "default group", project)
	if err != nil || id != "" {
		return err
	}
	return s.update(ctx, func(tx *record.Tx) error { return s.ensureDefaultGroup(tx, project) })
}

func (s *Service) fillRules(tx *record.Tx, groups ...*SecurityGroup) error {
	ids := make([]string, len(groups))
	for i, g := range groups {
		ids[i] = g.ID
		g.Rules = []SecurityGroupRule{}
	}
	rules, err := s.rules.List(tx, record.Query{Where: []record.Condition{record.In("security_group_id", ids...)}, Order: []record.Order{{Column: "created_at"}}})
	for i := range rules {
		g := groups[slices.Index(ids, rules[i].GroupID)]
		g.Rules = append(g.Rules, rules[i])
	}
	return err
}

func (s *Service) ownGroup(tx *record.Tx, scope Scope, id string) (*SecurityGroup, error) {
	g, err := s.groups.Get(tx, id)
	if err == nil && !scope.owns(&g.Meta) {
		err = fmt.Errorf("security group %q: %w", id, ErrNotFound)
	}
	if errors.Is(err, ErrNotFound) {
		err = refuse(ErrNotFound, "SecurityGroupNotFound", "Security group %s does not exist", id)
	}
	if err != nil {
		return nil, err
	}
	return g, nil
}
