package identity

import (
	"context"
	"slices"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// maxRedelegation is how often a trust can be passed on, as Keystone's max_redelegation_count.
const maxRedelegation = 3

// TrustFilter says which trusts to list; empty fields do not filter.
type TrustFilter struct {
	TrustorID, TrusteeID string
}

// CreateTrust lets the trustee use roles of the trustor on a project. The trustor must have them.
func (s *Service) CreateTrust(ctx context.Context, t Trust) (*Trust, error) {
	t.ID = newID()
	if t.ProjectID == "" && len(t.RoleIDs) > 0 {
		return nil, fault.Wrap(ErrInvalid, "A trust with roles needs a project.")
	}
	if !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(s.options.Now()) {
		return nil, fault.Wrap(ErrInvalid, "The trust's expires_at is in the past.")
	}
	if t.RemainingUses != nil && *t.RemainingUses < 1 {
		return nil, fault.Wrap(ErrInvalid, "remaining_uses must be a positive integer or null.")
	}
	if t.RedelegationCount < 0 || t.RedelegationCount > maxRedelegation {
		return nil, fault.Wrap(ErrForbidden, "Requested redelegation depth of %d is greater than allowed %d.", t.RedelegationCount, maxRedelegation)
	}
	if t.AllowRedelegation && t.RedelegationCount == 0 {
		t.RedelegationCount = maxRedelegation
	}
	if t.AllowRedelegation && t.RemainingUses != nil {
		return nil, fault.Wrap(ErrInvalid, "remaining_uses must not be set if redelegation is allowed.")
	}
	err := s.update(ctx, func(tx *record.Tx) error {
		if _, err := get(tx, s.users, "user", t.TrusteeID); err != nil {
			return err
		}
		if t.ProjectID != "" {
			if err := s.hasRoles(tx, t.TrustorID, t.ProjectID, t.RoleIDs); err != nil {
				return err
			}
		}
		return s.trusts.Insert(tx, &t)
	})
	if err != nil {
		return nil, err
	}
	return &t, nil
}

// hasRoles refuses roles that the user does not have on the project.
func (s *Service) hasRoles(tx *record.Tx, userID, projectID string, ids []string) error {
	if len(ids) == 0 {
		return fault.Wrap(ErrForbidden, "At least one role is required.")
	}
	if _, err := get(tx, s.projects, "project", projectID); err != nil {
		return err
	}
	roles, err := s.rolesOn(tx, userID, Scope{ProjectID: projectID})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if !slices.ContainsFunc(roles, func(r Role) bool { return r.ID == id }) {
			return notFound("role", id)
		}
	}
	return nil
}

// Trust returns the trust with that identifier, until it has expired or been used up.
func (s *Service) Trust(ctx context.Context, id string) (*Trust, error) {
	return s.validTrust(s.store.Read(ctx), id)
}

// liveTrust is there and has not expired.
func (s *Service) liveTrust(tx *record.Tx, id string) (*Trust, error) {
	t, err := get(tx, s.trusts, "trust", id)
	if err == nil && !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(s.options.Now()) {
		return nil, notFound("trust", id)
	}
	return t, err
}

// validTrust can be used once more at least.
func (s *Service) validTrust(tx *record.Tx, id string) (*Trust, error) {
	t, err := s.liveTrust(tx, id)
	if err == nil && t.RemainingUses != nil && *t.RemainingUses < 1 {
		return nil, notFound("trust", id)
	}
	return t, err
}

// useTrust counts a use down.
func (s *Service) useTrust(ctx context.Context, id string) error {
	if id == "" {
		return nil
	}
	t, err := s.Trust(ctx, id)
	if err != nil || t.RemainingUses == nil {
		return orUnauthorized(err)
	}
	return s.update(ctx, func(tx *record.Tx) error {
		t, err := s.validTrust(tx, id)
		if err != nil {
			return orUnauthorized(err)
		}
		left := *t.RemainingUses - 1
		t.RemainingUses = &left
		return s.trusts.Update(tx, t)
	})
}

// Trusts lists trusts that have not expired.
func (s *Service) Trusts(ctx context.Context, f TrustFilter) ([]Trust, error) {
	var w where
	w.text("trustor_id", f.TrustorID)
	w.text("trustee_id", f.TrusteeID)
	list, err := s.trusts.List(s.store.Read(ctx), record.Query{Where: w})
	now := s.options.Now()
	return slices.DeleteFunc(list, func(t Trust) bool { return !t.ExpiresAt.IsZero() && !t.ExpiresAt.After(now) }), err
}

// DeleteTrust deletes the trust and those redelegated from it; their tokens end.
func (s *Service) DeleteTrust(ctx context.Context, id string) error {
	return s.update(ctx, func(tx *record.Tx) error {
		if _, err := get(tx, s.trusts, "trust", id); err != nil {
			return err
		}
		return s.dropTrust(tx, id)
	})
}

func (s *Service) dropTrust(tx *record.Tx, id string) error {
	below, err := s.trusts.List(tx, record.Query{Where: []record.Condition{record.Eq("redelegated_trust_id", id)}})
	if err != nil {
		return err
	}
	for i := range below {
		if err := s.dropTrust(tx, below[i].ID); err != nil {
			return err
		}
	}
	return s.trusts.Delete(tx, id)
}

// RolesByID returns the roles with those identifiers, by name.
func (s *Service) RolesByID(ctx context.Context, ids []string) ([]Role, error) {
	return s.roles.List(s.store.Read(ctx), record.Query{
		Where: []record.Condition{record.In("id", ids...)}, Order: []record.Order{{Column: "name"}},
	})
}

// Redelegate is [Service.CreateTrust] by somebody who got the roles by a trust that allows passing them on: no more
// roles, no longer, and once less often.
func (s *Service) Redelegate(ctx context.Context, t Trust, from *Trust) (*Trust, error) {
	switch {
	case !from.AllowRedelegation || from.RedelegationCount < 1:
		return nil, fault.Wrap(ErrForbidden, "Redelegation allowed for delegated by trust only where the trust allows it.")
	case t.RedelegationCount >= from.RedelegationCount:
		return nil, fault.Wrap(ErrForbidden, "Requested redelegation depth is greater than allowed.")
	case !within(t.ExpiresAt, from.ExpiresAt), t.Impersonation && !from.Impersonation, t.ProjectID != from.ProjectID:
		return nil, fault.Wrap(ErrForbidden, "A redelegated trust cannot give more than the one it comes from.")
	}
	for _, id := range t.RoleIDs {
		if !slices.Contains(from.RoleIDs, id) {
			return nil, fault.Wrap(ErrForbidden, "Some of requested roles are not in redelegated trust.")
		}
	}
	t.RedelegatedTrustID = from.ID
	if t.AllowRedelegation && t.RedelegationCount == 0 {
		t.RedelegationCount = from.RedelegationCount - 1
		t.AllowRedelegation = t.RedelegationCount > 0
	}
	return s.CreateTrust(ctx, t)
}

// within says whether the inner time ends no later than the outer; zero never ends.
func within(inner, outer time.Time) bool {
	return outer.IsZero() || !inner.IsZero() && !inner.After(outer)
}
