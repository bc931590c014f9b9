package network

import (
	"context"
	"slices"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// RBACPolicy shares a network with a project, or (target "*") with all.
type RBACPolicy struct {
	Meta
	// ObjectType is "network".
	ObjectType, ObjectID string
	// Action is "access_as_shared" or "access_as_external".
	Action string
	Target string
}

const (
	actionShared   = "access_as_shared"
	actionExternal = "access_as_external"
	everyone       = "*"
)

var rbacAttributes = attributes(map[string]attribute{"object_type": {}, "object_id": {}, "action": {}, "target_tenant": {}})

// CreateRBACPolicy shares a network of the scope's project.
func (s *Service) CreateRBACPolicy(ctx context.Context, scope Scope, p RBACPolicy) (*RBACPolicy, error) {
	project, err := scope.owner(p.ProjectID, "create_rbac_policy")
	if err != nil {
		return nil, err
	}
	if p.ObjectType != "network" {
		return nil, refuse(ErrInvalid, "RbacObjectTypeNotSupported", "Sharing objects of type %s is not supported", p.ObjectType)
	}
	if p.Action != actionShared && p.Action != actionExternal {
		return nil, refuse(ErrInvalid, "InvalidInput", "Invalid action '%s' for object type network. Valid actions: access_as_shared, access_as_external", p.Action)
	}
	if !scope.Admin && (p.Target == everyone || p.Action == actionExternal) {
		return nil, forbidden("create_rbac_policy:target_tenant")
	}
	var made *RBACPolicy
	err = s.update(ctx, func(tx *record.Tx) error {
		n, err := s.ownNetwork(tx, scope, p.ObjectID, "create_rbac_policy")
		if err != nil {
			return err
		}
		if err := s.charge(tx, project, "rbac_policy", 1); err != nil {
			return err
		}
		twin, err := s.store.Holder(tx, "rbac/"+p.ObjectID, p.Action+" "+p.Target)
		if err != nil {
			return err
		}
		if twin != "" {
			return refuse(ErrConflict, "DuplicateRbacPolicy", "An RBAC policy already exists with those values.")
		}
		fresh := p
		fresh.Meta = s.newMeta(project, nil, nil)
		made = &fresh
		if err := s.policies.Insert(tx, made); err != nil {
			return err
		}
		n.share(s.now(), p.Action, p.Target, true)
		return s.networks.Update(tx, n)
	})
	return made, err
}

func (n *Network) share(at time.Time, action, target string, on bool) {
	switch {
	case action == actionExternal && target == everyone:
		n.External = on
	case action == actionShared && target == everyone:
		n.Shared = on
	case action == actionShared && on:
		n.SharedWith = append(n.SharedWith, target)
	case action == actionShared:
		n.SharedWith = slices.DeleteFunc(n.SharedWith, func(p string) bool { return p == target })
	}
	n.touch(at)
}

// DeleteRBACPolicy stops sharing. A project that has ports there is in the way.
func (s *Service) DeleteRBACPolicy(ctx context.Context, scope Scope, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		p, err := s.visiblePolicy(tx, scope, id)
		if err != nil {
			return err
		}
		n, err := s.networks.Get(tx, p.ObjectID)
		if err != nil {
			return err
		}
		if p.Action == actionShared && p.Target != everyone {
			used, err := s.ports.Count(tx, record.Eq("network_id", n.ID), record.Eq("project_id", p.Target))
			if err != nil {
				return err
			}
			if used > 0 && p.Target != n.ProjectID {
				return refuse(ErrInUse, "RbacPolicyInUse", "RBAC policy on object %s cannot be removed because other objects depend on it.", n.ID)
			}
		}
		off := false
		if p.Target == everyone {
			if err := s.mayUnshare(tx, n, &NetworkSpec{Shared: pick(p.Action == actionShared, &off), External: pick(p.Action == actionExternal, &off)}); err != nil {
				return err
			}
		}
		n.share(s.now(), p.Action, p.Target, false)
		if err := s.networks.Update(tx, n); err != nil {
			return err
		}
		return s.policies.Delete(tx, id)
	})
}

func pick(when bool, b *bool) *bool {
	if when {
		return b
	}
	return nil
}

// UpdateRBACPolicy shares with another project instead.
func (s *Service) UpdateRBACPolicy(ctx context.Context, scope Scope, id, target string) (*RBACPolicy, error) {
	var changed *RBACPolicy
	err := s.update(ctx, func(tx *record.Tx) error {
		p, err := s.visiblePolicy(tx, scope, id)
		if err != nil {
			return err
		}
		if !scope.Admin && target == everyone {
			return forbidden("update_rbac_policy:target_tenant")
		}
		n, err := s.networks.Get(tx, p.ObjectID)
		if err != nil {
			return err
		}
		n.share(s.now(), p.Action, p.Target, false)
		n.share(s.now(), p.Action, target, true)
		if err := s.networks.Update(tx, n); err != nil {
			return err
		}
		p.Target = target
		p.touch(s.now())
		changed = p
		return s.policies.Update(tx, p)
	})
	return changed, err
}

// RBACPolicy returns a policy of the scope's.
func (s *Service) RBACPolicy(ctx context.Context, scope Scope, id string) (*RBACPolicy, error) {
	return s.visiblePolicy(s.store.Read(ctx), scope, id)
}

// RBACPolicies lists the scope's policies.
func (s *Service) RBACPolicies(ctx context.Context, scope Scope, q Query) ([]RBACPolicy, error) {
	return list(ctx, s, s.policies, rbacAttributes, q, ownedBy(scope)...)
}

func (s *Service) visiblePolicy(tx *record.Tx, scope Scope, id string) (*RBACPolicy, error) {
	p, err := s.policies.Get(tx, id)
	if err == nil && !scope.owns(&p.Meta) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "RbacPolicyNotFound", "RBAC policy of type network with ID %s", id)
	}
	return p, nil
}

func (s *Service) dropPolicies(tx *record.Tx, networkID string) error {
	all, err := s.policies.List(tx, record.Query{Where: []record.Condition{record.Eq("object_id", networkID)}})
	for i := range all {
		if err := s.policies.Delete(tx, all[i].ID); err != nil {
			return err
		}
	}
	return err
}

// SharedTo says whether the network is shared, as the project sees it.
func (n *Network) SharedTo(projectID string) bool {
	return n.Shared || slices.Contains(n.SharedWith, projectID)
}
