package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// ManageSpec is something in a pool that becomes a volume.
type ManageSpec struct {
	// Host is the pool, Name what it calls the thing.
	Host, Name              string
	VolumeName, Description string
	// Type is a name or an identifier; empty is the default type.
	Type, Zone string
	Metadata   map[string]string
	Bootable   bool
}

// Manageable is something that a pool holds.
type Manageable struct {
	Name    string
	SizeGiB int
	// Safe is whether it can be managed; otherwise Reason says why not.
	Safe   bool
	Reason string
	// VolumeID is the volume or snapshot that it is already.
	VolumeID string
	// SourceName is the volume of a snapshot.
	SourceName string
}

const managePolicy = "volume_extension:volume_manage"

// ManageVolume makes a volume of something that a pool holds: creating until the pool has adopted it, or error_managing.
func (s *Service) ManageVolume(ctx context.Context, scope Scope, spec ManageSpec) (*Volume, error) {
	if err := mustAdmin(scope, managePolicy); err != nil {
		return nil, err
	}
	if err := checkKeys(spec.Metadata); err != nil {
		return nil, err
	}
	v := &Volume{
		ID: uuid.NewString(), ProjectID: scope.ProjectID, UserID: scope.UserID, Name: spec.VolumeName, Description: spec.Description,
		Status: Creating, AttachStatus: Detached, Zone: spec.Zone, Bootable: spec.Bootable, Metadata: spec.Metadata, CreatedAt: s.now(),
	}
	v.UpdatedAt = v.CreatedAt
	err := s.store.Update(ctx, func(tx *record.Tx) error {
		p, err := s.servingPool(tx, spec.Host)
		if err != nil {
			return err
		}
		if !p.Manages {
			return fault.Wrap(ErrUnsupported, "Pool %s does not hold volumes that others have made.", p.Name)
		}
		t, err := s.managedType(tx, scope, spec.Type)
		if err != nil {
			return err
		}
		v.Host, v.TypeID, v.TypeName = p.Name, t.ID, t.Name
		if v.Zone == "" {
			v.Zone = p.Zone
		}
		if err := s.reserve(tx, v.ProjectID, t.Name, map[string]int{"volumes": 1}); err != nil {
			return err
		}
		return errors.Join(s.volumes.Insert(tx, v), s.startJob(tx, job{
			ID: v.ID, Action: jobManage, Host: p.Name, VolumeID: v.ID, Name: spec.Name, ProjectID: v.ProjectID, RequestID: scope.RequestID,
		}))
	})
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (s *Service) managedType(tx *record.Tx, scope Scope, nameOrID string) (*Type, error) {
	if nameOrID == "" {
		nameOrID = DefaultTypeName
	}
	t, err := s.visibleType(tx, scope, nameOrID)
	if err != nil {
		return nil, err
	}
	if t.Encryption != nil {
		return nil, fault.Wrap(ErrInvalid, "Invalid volume type: Managing to an encrypted volume type is not supported.")
	}
	return t, nil
}

// servingPool is the pool of that name, or the only one of that backend, if its agent lives and is enabled.
func (s *Service) servingPool(tx *record.Tx, host string) (*pool, error) {
	where := record.Eq("id", host)
	if !strings.Contains(host, "#") {
		where = record.Eq("backend", host)
	}
	found, err := s.pools.List(tx, record.Query{Where: []record.Condition{where}})
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, fault.Wrap(ErrNotFound, "Service cinder-volume could not be found on host %.255s.", host)
	}
	if p := &found[0]; !p.Disabled && s.up(p) {
		return p, nil
	}
	return nil, fault.Wrap(ErrInvalid, "Service is unavailable at this time.")
}

// manager is the pool's driver as far as it holds what others have made.
func (a *Agent) manager() (driver.Manager, error) {
	m, ok := a.volumes.(driver.Manager)
	if !ok {
		return nil, fault.Wrap(ErrUnsupported, "Pool %s does not hold volumes that others have made.", a.host)
	}
	return m, nil
}

// manage does the job of ManageVolume.
func (a *Agent) manage(ctx context.Context, j *job) error {
	bytes, err := a.adopt(ctx, j)
	if err != nil {
		return err
	}
	s := a.service
	size := int((bytes + gib - 1) / gib)
	if bytes%gib != 0 { // sizes are whole
		if err := a.grow(ctx, j.VolumeID, size); err != nil {
			return err
		}
	}
	return s.finish(ctx, j, func(tx *record.Tx) error {
		v, err := s.volumes.Get(tx, j.VolumeID)
		if err != nil {
			return err
		}
		name, err := s.typeName(tx, v.TypeID)
		if err != nil {
			return err
		}
		if err := s.reserve(tx, v.ProjectID, name, map[string]int{"gigabytes": size}); err != nil {
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		at := s.now()
		v.SizeGiB, v.Status, v.LaunchedAt, v.UpdatedAt = size, Available, &at, at
		return s.volumes.Update(tx, v)
	})
}

func (a *Agent) grow(ctx context.Context, volumeID string, sizeGiB int) error {
	defer a.turn(volumeID)()
	return a.volumes.Apply(ctx, driver.Volume{ID: volumeID, Bytes: int64(sizeGiB) * gib})
}

// adopt makes the thing the pool's own, if a killed agent has not done so, and returns its size.
func (a *Agent) adopt(ctx context.Context, j *job) (bytes int64, err error) {
	m, err := a.manager()
	if err != nil {
		return 0, err
	}
	defer a.turn(j.VolumeID)()
	if bytes, held, err := a.holds(ctx, driver.KindVolume, j.VolumeID); held || err != nil {
		return bytes, err
	}
	there, err := m.Unmanaged(ctx)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(there, func(u driver.Unmanaged) bool { return u.Name == j.Name })
	why := "it is not there"
	switch {
	case i < 0:
	case !there[i].Safe:
		why = there[i].Reason
	default:
		return there[i].Bytes, m.Adopt(ctx, j.Name, j.VolumeID)
	}
	return 0, badReference("volume", j.Name, why)
}

// holds says whether the pool has it already, and its size.
func (a *Agent) holds(ctx context.Context, kind driver.Kind, id string) (bytes int64, held bool, err error) {
	observed, err := a.volumes.List(ctx)
	if err != nil {
		return 0, false, err
	}
	i := slices.IndexFunc(observed, func(o driver.Observed) bool { return o.Kind == kind && o.ID == id })
	if i < 0 {
		return 0, false, nil
	}
	return observed[i].Bytes, true, nil
}

// badReference is the error of a name that nothing is adopted by.
func badReference(what, name, why string) error {
	return fault.Wrap(ErrInvalid, "Manage existing %s failed due to invalid backend reference %.255s: %s", what, name, why)
}

// failManage ends the management of a volume that has failed; what was adopted is given back.
func (a *Agent) failManage(ctx context.Context, j *job, _ error) error {
	if err := a.release(ctx, j.VolumeID); err != nil {
		return err
	}
	return a.service.finish(ctx, j, func(tx *record.Tx) error {
		_, err := a.service.volumes.Modify(tx, j.VolumeID, func(v *Volume) error {
			v.Status, v.UpdatedAt = ErrorManaging, a.service.now()
			return nil
		})
		return err
	})
}

func (a *Agent) release(ctx context.Context, id string) error {
	m, err := a.manager()
	if err != nil {
		return nil //nolint:nilerr // then nothing was adopted
	}
	defer a.turn(id)()
	if _, err := m.Release(ctx, id); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// UnmanageVolume forgets an available volume and leaves its content in the pool.
func (s *Service) UnmanageVolume(ctx context.Context, scope Scope, id string) error {
	if err := mustAdmin(scope, "volume_extension:volume_unmanage"); err != nil {
		return err
	}
	return s.store.Update(ctx, func(tx *record.Tx) error {
		v, err := s.visibleVolume(tx, scope, id)
		if err != nil {
			return err
		}
		snapshots, err := s.snapshots.Count(tx, record.Eq("volume", id))
		if err != nil {
			return err
		}
		switch {
		case v.EncryptionKeyID != "":
			return fault.Wrap(ErrInvalid, "Invalid volume: Unmanaging encrypted volumes is not supported.")
		case v.Status != Available && v.Status != Errored || v.GroupID != "" || snapshots > 0:
			return fault.Wrap(ErrInvalid, "Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer.")
		}
		p, err := s.servingPool(tx, v.Host)
		if err != nil {
			return err
		}
		if !p.Manages {
			return fault.Wrap(ErrUnsupported, "Pool %s does not hold volumes that others have made.", p.Name)
		}
		before := v.Status
		v.Status, v.UpdatedAt = Unmanaging, s.now()
		return errors.Join(s.volumes.Update(tx, v), s.startJob(tx, job{
			ID: id, Action: jobUnmanage, Host: v.Host, VolumeID: id, Before: before, ProjectID: v.ProjectID, RequestID: scope.RequestID,
		}))
	})
}

// unmanage does the job of UnmanageVolume.
func (a *Agent) unmanage(ctx context.Context, j *job) error {
	s := a.service
	v, err := s.volumes.Get(s.store.Read(ctx), j.VolumeID)
	if err != nil {
		return err
	}
	if err := a.release(ctx, v.key()); err != nil {
		return err
	}
	return s.finish(ctx, j, func(tx *record.Tx) error { return s.volumes.Delete(tx, j.VolumeID) })
}

func (s *Service) failUnmanage(tx *record.Tx, j *job, _ error) error {
	_, err := s.volumes.Modify(tx, j.VolumeID, func(v *Volume) error {
		v.Status, v.UpdatedAt = ErrorUnmanaging, s.now()
		return nil
	})
	return err
}

// ManageableVolumes lists what a pool of this process holds: others' things and the service's own.
func (s *Service) ManageableVolumes(ctx context.Context, scope Scope, host string, options ListOptions) ([]Manageable, error) {
	if err := mustAdmin(scope, "volume_extension:list_manageable"); err != nil {
		return nil, err
	}
	tx := s.store.Read(ctx)
	p, err := s.servingPool(tx, host)
	if err != nil {
		return nil, err
	}
	a := s.localAgent(p.Name)
	if a == nil {
		return nil, fault.Wrap(ErrUnavailable, "Pool %s cannot be asked from here.", p.Name)
	}
	m, err := a.manager()
	if err != nil {
		return nil, err
	}
	there, err := m.Unmanaged(ctx)
	if err != nil {
		return nil, err
	}
	var all []Manageable
	for _, u := range there {
		all = append(all, Manageable{Name: u.Name, SizeGiB: int((u.Bytes + gib - 1) / gib), Safe: u.Safe, Reason: u.Reason})
	}
	own, err := s.volumes.List(tx, record.Query{Where: []record.Condition{record.Eq("host", p.Name)}})
	if err != nil {
		return nil, err
	}
	for i := range own {
		all = append(all, Manageable{Name: own[i].key(), SizeGiB: own[i].SizeGiB, Reason: "already managed", VolumeID: own[i].ID})
	}
	sortManageable(all, options.Sort)
	return page(all, func(m *Manageable) string { return m.Name }, options.Marker, options.Offset, options.Limit)
}

// sortManageable sorts by "size" or "reference", descending unless said otherwise.
func sortManageable(all []Manageable, sort []Sort) {
	by := Sort{Key: "reference", Descending: true}
	if len(sort) > 0 {
		by = sort[0]
	}
	slices.SortStableFunc(all, func(x, y Manageable) int {
		order := strings.Compare(x.Name, y.Name)
		if by.Key == "size" {
			order = x.SizeGiB - y.SizeGiB
		}
		if by.Descending {
			order = -order
		}
		return order
	})
}
