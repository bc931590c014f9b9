package volume

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
	"github.com/kintoun/kintoun/volume/driver"
)

// ManageSnapshotSpec is something in a volume's pool that becomes a snapshot of the volume.
type ManageSnapshotSpec struct {
	// Name is what the pool calls it.
	VolumeID, Name            string
	SnapshotName, Description string
	Metadata                  map[string]string
}

func snapshotsNotManaged(pool string) error {
	return fault.Wrap(ErrUnsupported, "Pool %s does not hold snapshots that others have made.", pool)
}

// ManageSnapshot makes a snapshot of something that a volume's pool holds and that is of the volume: creating until the pool has
// adopted it, or error.
func (s *Service) ManageSnapshot(ctx context.Context, scope Scope, spec ManageSnapshotSpec) (p *Snapshot, err error) {
	if err := mustAdmin(scope, "snapshot_extension:snapshot_manage"); err != nil {
		return nil, err
	}
	if err := errors.Join(checkMetadata(spec.Metadata), checkTexts(spec.SnapshotName, spec.Description)); err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		p, err = s.insertManagedSnapshot(tx, scope, spec)
		return err
	})
	return p, err
}

func (s *Service) insertManagedSnapshot(tx *record.Tx, scope Scope, spec ManageSnapshotSpec) (*Snapshot, error) {
	v, err := s.visibleVolume(tx, scope, spec.VolumeID)
	if err != nil {
		return nil, err
	}
	if err := checkSnapshottable(v, true); err != nil {
		return nil, err
	}
	if v.EncryptionKeyID != "" {
		return nil, invalidVolume("Managing a snapshot of an encrypted volume is not supported.")
	}
	if err := s.managesSnapshots(tx, v.Host); err != nil {
		return nil, err
	}
	name, err := s.typeName(tx, v.TypeID)
	if err != nil {
		return nil, err
	}
	if err := s.reserve(tx, scope.ProjectID, name, map[string]int{"snapshots": 1, "gigabytes": v.SizeGiB}); err != nil {
		return nil, err
	}
	t := s.now()
	p := &Snapshot{
		ID: uuid.NewString(), VolumeID: v.ID, ProjectID: scope.ProjectID, UserID: scope.UserID, Name: spec.SnapshotName, Description: spec.Description,
		SizeGiB: v.SizeGiB, Status: Creating, Metadata: maps.Clone(spec.Metadata), TypeID: v.TypeID, Host: v.Host, CreatedAt: t, UpdatedAt: t,
	}
	return p, errors.Join(s.snapshots.Insert(tx, p), s.startJob(tx, job{
		ID: p.ID, Action: jobManageSnapshot, Host: v.Host, VolumeID: v.ID, SnapshotID: p.ID, Name: spec.Name, ProjectID: p.ProjectID, RequestID: scope.RequestID,
	}))
}

// managesSnapshots says whether a pool can be asked to adopt snapshots, or to give them up.
func (s *Service) managesSnapshots(tx *record.Tx, host string) error {
	p, err := s.servingPool(tx, host)
	if err == nil && !p.ManagesSnapshots {
		err = snapshotsNotManaged(p.Name)
	}
	return err
}

// snapshotManager is the pool's driver as far as it holds snapshots that others have made.
func (a *Agent) snapshotManager() (driver.SnapshotManager, error) {
	m, ok := a.volumes.(driver.SnapshotManager)
	if !ok {
		return nil, snapshotsNotManaged(a.host)
	}
	return m, nil
}

// manageSnapshot does the job of ManageSnapshot.
func (a *Agent) manageSnapshot(ctx context.Context, j *job) error {
	bytes, err := a.adoptSnapshot(ctx, j)
	if err != nil {
		return err
	}
	s := a.service
	return s.finish(ctx, j, func(tx *record.Tx) error {
		return s.managedSnapshot(tx, j, func(p *Snapshot) {
			p.SizeGiB, p.Status, p.Progress = int((bytes+gib-1)/gib), Available, 100
		})
	})
}

// managedSnapshot changes the snapshot that a job is about; it may be gone.
func (s *Service) managedSnapshot(tx *record.Tx, j *job, change func(p *Snapshot)) error {
	p, err := s.snapshots.Get(tx, j.SnapshotID)
	if err != nil {
		return notFoundIsNil(err)
	}
	change(p)
	return s.saveSnapshot(tx, p)
}

// adoptSnapshot makes the thing the pool's own, if a killed agent has not done so, and returns its size.
func (a *Agent) adoptSnapshot(ctx context.Context, j *job) (bytes int64, err error) {
	m, err := a.snapshotManager()
	if err != nil {
		return 0, err
	}
	v, err := a.service.volumes.Get(a.service.store.Read(ctx), j.VolumeID)
	if err != nil {
		return 0, err
	}
	defer a.turn(j.VolumeID)()
	if bytes, held, err := a.holds(ctx, driver.KindSnapshot, j.SnapshotID); held || err != nil {
		return bytes, err
	}
	there, err := m.UnmanagedSnapshots(ctx)
	if err != nil {
		return 0, err
	}
	i := slices.IndexFunc(there, func(u driver.UnmanagedSnapshot) bool { return u.Name == j.Name })
	why := "it is not there"
	switch {
	case i < 0:
	case !there[i].Safe:
		why = there[i].Reason
	case there[i].VolumeID != v.key():
		why = "it is of another volume"
	default:
		return there[i].Bytes, m.AdoptSnapshot(ctx, j.Name, driver.Snapshot{ID: j.SnapshotID, VolumeID: v.key()})
	}
	return 0, badReference("snapshot", j.Name, why)
}

// failManageSnapshot ends the management of a snapshot that has failed; what was adopted is given back.
func (a *Agent) failManageSnapshot(ctx context.Context, j *job, _ error) error {
	if err := a.releaseSnapshot(ctx, j); err != nil {
		return err
	}
	return a.service.finish(ctx, j, func(tx *record.Tx) error {
		return a.service.managedSnapshot(tx, j, func(p *Snapshot) { p.Status = Errored })
	})
}

func (a *Agent) releaseSnapshot(ctx context.Context, j *job) error {
	m, err := a.snapshotManager()
	if err != nil {
		return nil //nolint:nilerr // then nothing was adopted
	}
	defer a.turn(j.VolumeID)()
	if _, err := m.ReleaseSnapshot(ctx, j.SnapshotID); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// UnmanageSnapshot forgets an available snapshot and leaves its content in the pool.
func (s *Service) UnmanageSnapshot(ctx context.Context, scope Scope, id string) error {
	if err := mustAdmin(scope, "snapshot_extension:snapshot_unmanage"); err != nil {
		return err
	}
	_, err := s.changeSnapshot(ctx, scope, id, func(tx *record.Tx, p *Snapshot) error {
		switch {
		case p.EncryptionKeyID != "":
			return invalidSnapshot("Unmanaging encrypted snapshots is not supported.")
		case p.GroupSnapshotID != "" || p.Status != Available && p.Status != Errored:
			return invalidSnapshot("Snapshot status must be available or error and must not be part of a group.")
		}
		if err := s.managesSnapshots(tx, p.Host); err != nil {
			return err
		}
		copied, err := s.isCopied(tx, "snapshot", id)
		if err != nil {
			return err
		}
		if copied {
			return invalidSnapshot("A volume is being made of it.")
		}
		p.Status = Unmanaging
		return s.startJob(tx, job{
			ID: id, Action: jobUnmanageSnapshot, Host: p.Host, VolumeID: p.VolumeID, SnapshotID: id, ProjectID: p.ProjectID, RequestID: scope.RequestID,
		})
	})
	return err
}

// unmanageSnapshot does the job of UnmanageSnapshot.
func (a *Agent) unmanageSnapshot(ctx context.Context, j *job) error {
	if err := a.releaseSnapshot(ctx, j); err != nil {
		return fmt.Errorf("snapshot %s: %w", j.SnapshotID, err)
	}
	s := a.service
	return s.finish(ctx, j, func(tx *record.Tx) error {
		return errors.Join(notFoundIsNil(s.snapshots.Delete(tx, j.SnapshotID)), s.wake(tx, j.VolumeID))
	})
}

func (s *Service) failUnmanageSnapshot(tx *record.Tx, j *job, _ error) error {
	return s.managedSnapshot(tx, j, func(p *Snapshot) { p.Status = ErrorDeleting })
}

// ManageableSnapshots lists the snapshots that a pool of this process holds: others' and the service's own.
func (s *Service) ManageableSnapshots(ctx context.Context, scope Scope, host string, options ListOptions) ([]Manageable, error) {
	if err := mustAdmin(scope, "snapshot_extension:list_manageable"); err != nil {
		return nil, err
	}
	tx := s.store.Read(ctx)
	p, err := s.servingPool(tx, host)
	if err != nil {
		return nil, err
	}
	all, err := s.unmanagedSnapshots(ctx, p)
	if err != nil {
		return nil, err
	}
	own, err := s.snapshots.List(tx, record.Query{Where: []record.Condition{record.Eq("host", p.Name)}})
	if err != nil {
		return nil, err
	}
	for i := range own {
		all = append(all, Manageable{Name: own[i].ID, SizeGiB: own[i].SizeGiB, Reason: "already managed", VolumeID: own[i].ID, SourceName: own[i].VolumeID})
	}
	sortManageable(all, options.Sort)
	return page(all, func(m *Manageable) string { return m.Name }, options.Marker, options.Offset, options.Limit)
}

// unmanagedSnapshots are those that are nobody's yet.
func (s *Service) unmanagedSnapshots(ctx context.Context, p *pool) (all []Manageable, err error) {
	if !p.ManagesSnapshots {
		return nil, nil
	}
	a := s.localAgent(p.Name)
	if a == nil {
		return nil, fault.Wrap(ErrUnavailable, "Pool %s cannot be asked from here.", p.Name)
	}
	m, err := a.snapshotManager()
	if err != nil {
		return nil, err
	}
	there, err := m.UnmanagedSnapshots(ctx)
	for _, u := range there {
		all = append(all, Manageable{Name: u.Name, SizeGiB: int((u.Bytes + gib - 1) / gib), Safe: u.Safe, Reason: u.Reason, SourceName: u.VolumeID})
	}
	return all, err
}
