package volume

import (
	"context"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// Retype gives a volume another type, by name or identifier. Where its pool cannot have volumes of the type, or the content
// is to be encrypted or decrypted, it is copied to one that can if the policy is "on-demand": retyping until that is done. With
// "never" it stays as it is then, and a message says so.
func (s *Service) Retype(ctx context.Context, scope Scope, id string, newType, policy string) error {
	if policy == "" {
		policy = "never"
	}
	if policy != "never" && policy != "on-demand" {
		return fault.Wrap(ErrInvalid, "Invalid input for field/attribute migration_policy. Value: %.40s. '%.40s' is not one of ['on-demand', 'never']", policy, policy)
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.visibleVolume(tx, scope, id)
		if err != nil {
			return err
		}
		t, err := s.visibleType(tx, scope, newType)
		if err != nil {
			return err
		}
		if err := s.retypable(tx, v, t); err != nil {
			return err
		}
		if err := s.reserveRetype(tx, v, t); err != nil {
			return err
		}
		host, err := s.hostForType(tx, v, t, policy)
		if err != nil {
			return err
		}
		switch {
		case host == "":
			return s.message(tx, v.ProjectID, scope.RequestID, aboutVolume, v.ID, actionSchedule, detailNoBackend)
		case host == v.Host && (t.Encryption != nil) == (v.EncryptionKeyID != ""):
			v.become(t)
			v.UpdatedAt = s.now()
			return s.volumes.Update(tx, v)
		}
		return s.beginMigration(tx, scope, v, Retyping, job{Target: host, TypeID: t.ID})
	})
}

// retypable says why a volume cannot become one of the type.
func (s *Service) retypable(tx *record.Tx, v *Volume, t *Type) error {
	shared := t.asks("multiattach")
	if shared != v.Multiattach && v.Status != Available {
		return fault.Wrap(ErrInvalid, "Invalid input received: Invalid volume_type passed, retypes affecting multiattach are only allowed on available volumes, the specified volume however currently has a status of: %s.", v.Status)
	}
	if shared && t.Encryption != nil {
		return fault.Wrap(ErrInvalid, "Invalid input received: Retype requested both encryption and multi-attach, which is not supported.")
	}
	limitsChange := false
	if v.Status == InUse {
		old, err := s.frontEndLimits(tx, v.TypeID)
		if err != nil {
			return err
		}
		limits, err := s.frontEndLimits(tx, t.ID)
		if err != nil {
			return err
		}
		limitsChange = old != limits
	}
	if v.Status != Available && v.Status != InUse || v.migrating() || v.GroupID != "" || v.TypeID == t.ID || limitsChange {
		return fault.Wrap(ErrInvalid, "Invalid volume: Retype needs volume to be in available or in-use state, not be part of an active migration or a consistency group, requested type has to be different that the one from the volume, and for in-use volumes front-end qos specs cannot change.")
	}
	return nil
}

// frontEndLimits is the set of limits that a type has which those who use a volume observe.
func (s *Service) frontEndLimits(tx *record.Tx, typeID string) (string, error) {
	t, err := s.types.Get(tx, typeID)
	if err != nil || t.QoSID == "" {
		return "", notFoundIsNil(err)
	}
	q, err := s.qos.Get(tx, t.QoSID)
	if err != nil || q.Consumer == "back-end" {
		return "", notFoundIsNil(err)
	}
	return q.ID, nil
}

// reserveRetype refuses what would be more of the type than the project may have.
func (s *Service) reserveRetype(tx *record.Tx, v *Volume, t *Type) error {
	quota, err := s.quota(tx, v.ProjectID)
	if err != nil {
		return err
	}
	for resource, want := range map[string]int{"volumes": 1, "gigabytes": v.SizeGiB} {
		name := resource + "_" + t.Name
		limit, bound := quota[name]
		if !bound || limit < 0 {
			continue
		}
		used, err := s.used(tx, v.ProjectID, name)
		if err != nil {
			return err
		}
		if used+want > limit {
			return overQuota(name, want, used, limit)
		}
	}
	return nil
}

// hostForType is the pool where the volume can have the type: its own if possible; empty for none.
func (s *Service) hostForType(tx *record.Tx, v *Volume, t *Type, policy string) (string, error) {
	own, err := s.pools.Get(tx, v.Host)
	if err != nil {
		return "", err
	}
	sameContent := (t.Encryption != nil) == (v.EncryptionKeyID != "")
	if t.suits(own) && (sameContent || policy == "on-demand" && v.Status == Available) {
		return own.Name, s.withoutSnapshots(tx, v, sameContent)
	}
	if policy == "never" {
		return "", nil
	}
	if v.Status != Available {
		return "", fault.Wrap(ErrInvalid, "Invalid volume: Volume %s is in use, and would have to be moved to become one of type %s.", v.ID, t.Name)
	}
	if err := s.withoutSnapshots(tx, v, false); err != nil {
		return "", err
	}
	p, err := s.choosePool(tx, placement{types: []Type{*t}, zone: v.Zone, sizeGiB: v.SizeGiB, volume: v, but: []string{v.Host}})
	if err != nil {
		return "", notFoundIsNil(err)
	}
	return p.Name, nil
}

// withoutSnapshots refuses to copy a volume that has snapshots: they cannot move.
func (s *Service) withoutSnapshots(tx *record.Tx, v *Volume, stays bool) error {
	if stays {
		return nil
	}
	n, err := s.snapshots.Count(tx, record.Eq("volume", v.ID))
	if err == nil && n > 0 {
		err = fault.Wrap(ErrInvalid, "Invalid volume: Volume %s must not have snapshots to be migrated.", v.ID)
	}
	return err
}
