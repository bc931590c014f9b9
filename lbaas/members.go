package lbaas

import (
	"context"
	"errors"
	"net/netip"

	"github.com/kintoun/kintoun/internal/record"
)

var memberFields = map[string]fieldKind{
	"id": textField, "tenant_id": textField, "pool_id": textField, "address": textField, "protocol_port": numberField,
	"weight": numberField, "admin_state_up": booleanField, "status": textField,
}

// MemberSpec is a wish for a member.
type MemberSpec struct {
	// ProjectID is the caller's when empty; only an administrator may wish for another.
	ProjectID string
	PoolID    string
	Address   netip.Addr
	Port      int
	Weight    int
	// AdminStateUp is true when nil, as in the API.
	AdminStateUp *bool
}

// MemberChange changes what is not nil.
type MemberChange struct {
	PoolID       *string
	Weight       *int
	AdminStateUp *bool
}

// CreateMember adds a member to a pool. An address and port is one member of a pool.
func (s *Service) CreateMember(ctx context.Context, scope Scope, spec MemberSpec) (*Member, error) {
	project, err := owner(scope, spec.ProjectID)
	if err != nil {
		return nil, err
	}
	if err := checkPort(spec.Port); err != nil {
		return nil, err
	}
	member := Member{
		ID: newID(), ProjectID: project, PoolID: spec.PoolID, Address: spec.Address.Unmap(), Port: uint16(spec.Port),
		Weight: spec.Weight, AdminStateUp: up(spec.AdminStateUp), Status: PendingCreate,
	}
	if err := checkMember(&member); err != nil {
		return nil, err
	}
	quota, err := s.options.Quota(ctx, project)
	if err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if _, err := s.pool(tx, scope, member.PoolID); err != nil {
			return err
		}
		if err := checkQuota(tx, s.members, project, "member", quota.Members); err != nil {
			return err
		}
		return memberExists(&member, s.members.Insert(tx, &member))
	})
	return &member, err
}

func memberExists(m *Member, err error) error {
	if errors.Is(err, record.ErrDuplicate) {
		return named(ErrConflict, "MemberExists", "Member with address %s and port %d already present in pool %s", m.Address, m.Port, m.PoolID)
	}
	return err
}

// Members lists members.
func (s *Service) Members(ctx context.Context, scope Scope, q Query) ([]Member, error) {
	return list(s.store.Read(ctx), s.members, scope, q, memberFields)
}

// Member returns one member.
func (s *Service) Member(ctx context.Context, scope Scope, id string) (*Member, error) {
	return s.member(s.store.Read(ctx), scope, id)
}

func (s *Service) member(tx *record.Tx, scope Scope, id string) (*Member, error) {
	return get(tx, s.members, scope, id, "MemberNotFound", "Member")
}

// UpdateMember changes a member; it may move to another pool.
func (s *Service) UpdateMember(ctx context.Context, scope Scope, id string, change MemberChange) (member *Member, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if member, err = s.member(tx, scope, id); err != nil {
			return err
		}
		old := member.PoolID
		set(&member.PoolID, change.PoolID)
		set(&member.Weight, change.Weight)
		set(&member.AdminStateUp, change.AdminStateUp)
		if err := checkMember(member); err != nil {
			return err
		}
		if _, err := s.pool(tx, scope, member.PoolID); err != nil {
			return err
		}
		member.Status = member.Status.changed()
		if err := memberExists(member, s.members.Update(tx, member)); err != nil {
			return err
		}
		if old != member.PoolID {
			return s.touch(tx, old)
		}
		return nil
	})
	return member, err
}

// DeleteMember takes a member out of its pool.
func (s *Service) DeleteMember(ctx context.Context, scope Scope, id string) error {
	return s.store.Update(ctx, func(tx *record.Tx) error {
		member, err := s.member(tx, scope, id)
		if err != nil {
			return err
		}
		if err := s.members.Delete(tx, id); err != nil {
			return err
		}
		return s.touch(tx, member.PoolID)
	})
}
