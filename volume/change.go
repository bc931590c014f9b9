package volume

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

var volumeKeys = keys{owned: true, texts: map[string]string{
	"id": "id", "name": "name", "display_name": "name", "status": "status", "host": "host", "availability_zone": "zone",
	"project_id": "project", "user_id": "owner", "volume_type_id": "type", "snapshot_id": "snapshot", "source_volid": "source",
	"group_id": "grp", "migration_status": "migration", "attach_status": "attached", "glance_image_id": "image",
}, flags: map[string]string{"bootable": "bootable", "multiattach": "multiattach", "consumes_quota": "counted", "encrypted": "encrypted"},
	numbers: map[string]string{"size": "size", "created_at": "created", "updated_at": "updated"}}

func volumeLabels(v *Volume) (string, map[string]string) { return v.ID, v.Metadata }

// Volume returns the volume of that identifier.
func (s *Service) Volume(ctx context.Context, scope Scope, id string) (*Volume, error) {
	tx := s.store.Read(ctx)
	v, err := s.visibleVolume(tx, scope, id)
	if err != nil {
		return nil, err
	}
	return v, s.fill(tx, v)
}

func (s *Service) visibleVolume(tx *record.Tx, scope Scope, id string) (*Volume, error) {
	v, err := s.volumes.Get(tx, id)
	if err == nil && !scope.sees(v.ProjectID) {
		err = ErrNotFound
	}
	if err != nil {
		return nil, notFound(err, "Volume %s could not be found.", id)
	}
	return v, nil
}

// fill adds to volumes what other records say of them.
func (s *Service) fill(tx *record.Tx, volumes ...*Volume) error {
	var typeIDs, ids []string
	for _, v := range volumes {
		ids = append(ids, v.ID)
		if v.TypeID != "" && !slices.Contains(typeIDs, v.TypeID) {
			typeIDs = append(typeIDs, v.TypeID)
		}
	}
	types, err := s.types.List(tx, record.Query{Where: []record.Condition{record.In("id", typeIDs...)}})
	if err != nil {
		return err
	}
	names := map[string]string{}
	for i := range types {
		names[types[i].ID] = types[i].Name
	}
	of := map[string][]Attachment{}
	for some := range slices.Chunk(ids, pageSize) {
		attachments, err := s.attachments.List(tx, record.Query{Where: []record.Condition{record.In("volume", some...)}, Order: []record.Order{{Column: "created"}}})
		if err != nil {
			return err
		}
		for _, a := range attachments {
			of[a.VolumeID] = append(of[a.VolumeID], a)
		}
	}
	for _, v := range volumes {
		v.TypeName, v.Attachments = names[v.TypeID], of[v.ID]
	}
	return nil
}

// volumeOptions translates filters that name what the database has by identifier.
func (s *Service) volumeOptions(tx *record.Tx, scope Scope, o ListOptions) (ListOptions, error) {
	name, asked := o.Equal["volume_type"]
	if !asked {
		return o, nil
	}
	o.Equal = maps.Clone(o.Equal)
	delete(o.Equal, "volume_type")
	t, err := s.visibleType(tx, scope, name)
	switch {
	case err == nil:
		o.Equal["volume_type_id"] = t.ID
	case notFoundIsNil(err) == nil:
		o.Equal["volume_type_id"] = name // nobody has it
	default:
		return o, err
	}
	return o, nil
}

// Volumes lists volumes.
func (s *Service) Volumes(ctx context.Context, scope Scope, options ListOptions) ([]Volume, error) {
	tx := s.store.Read(ctx)
	options, err := s.volumeOptions(tx, scope, options)
	if err != nil {
		return nil, err
	}
	list, err := find(tx, s.volumes, volumeKeys, scope, options, volumeLabels)
	if err != nil {
		return nil, err
	}
	pointers := make([]*Volume, len(list))
	for i := range list {
		pointers[i] = &list[i]
	}
	return list, s.fill(tx, pointers...)
}

// CountVolumes counts what [Service.Volumes] lists without Limit, Offset and Marker.
func (s *Service) CountVolumes(ctx context.Context, scope Scope, options ListOptions) (int, error) {
	tx := s.store.Read(ctx)
	options, err := s.volumeOptions(tx, scope, options)
	if err != nil {
		return 0, err
	}
	return count(tx, s.volumes, volumeKeys, scope, options, volumeLabels)
}

// VolumesSummary counts and adds up volumes.
func (s *Service) VolumesSummary(ctx context.Context, scope Scope, options ListOptions) (*VolumesSummary, error) {
	list, err := find(s.store.Read(ctx), s.volumes, volumeKeys, scope, options, volumeLabels)
	if err != nil {
		return nil, err
	}
	sum := &VolumesSummary{Count: len(list), Metadata: map[string][]string{}}
	for i := range list {
		sum.SizeGiB += list[i].SizeGiB
		for key, value := range list[i].Metadata {
			if !slices.Contains(sum.Metadata[key], value) {
				sum.Metadata[key] = append(sum.Metadata[key], value)
			}
		}
	}
	return sum, nil
}

// Await returns the volume as soon as ready says so of it, or ctx's error. A volume that is gone is [ErrNotFound].
func (s *Service) Await(ctx context.Context, scope Scope, id string, ready func(v *Volume) bool) (*Volume, error) {
	return await(ctx, s, volumesKind, id, func(ctx context.Context) (*Volume, error) { return s.Volume(ctx, scope, id) }, ready)
}

// changeVolume lets fn change a volume, and writes it back.
func (s *Service) changeVolume(ctx context.Context, scope Scope, id string, fn func(tx *record.Tx, v *Volume) error) (v *Volume, err error) {
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		if v, err = s.visibleVolume(tx, scope, id); err != nil {
			return err
		}
		if err := fn(tx, v); err != nil {
			return err
		}
		return s.saveVolume(tx, v)
	})
	return v, err
}

func (s *Service) saveVolume(tx *record.Tx, v *Volume) error {
	v.UpdatedAt = s.now()
	return s.volumes.Update(tx, v)
}

func invalidVolume(format string, args ...any) error {
	return fault.Wrap(ErrInvalid, "Invalid volume: "+format, args...)
}

// UpdateVolume changes a volume's name, description or metadata.
func (s *Service) UpdateVolume(ctx context.Context, scope Scope, id string, update VolumeUpdate) (*Volume, error) {
	if err := checkMetadata(update.Metadata); err != nil {
		return nil, err
	}
	v, err := s.changeVolume(ctx, scope, id, func(_ *record.Tx, v *Volume) error {
		if v.Status == Maintenance {
			return invalidVolume("The volume cannot be updated during maintenance.")
		}
		if update.Name != nil {
			v.Name = *update.Name
		}
		if update.Description != nil {
			v.Description = *update.Description
		}
		if update.Metadata != nil {
			v.Metadata = maps.Clone(update.Metadata)
		}
		return checkTexts(v.Name, v.Description)
	})
	if err != nil {
		return nil, err
	}
	return v, s.fill(s.store.Read(ctx), v)
}

// SetBootable says whether servers can boot from the volume.
func (s *Service) SetBootable(ctx context.Context, scope Scope, id string, bootable bool) error {
	_, err := s.changeVolume(ctx, scope, id, func(_ *record.Tx, v *Volume) error { v.Bootable = bootable; return nil })
	return err
}

// The keys of [Volume.AdminMetadata].
const (
	readOnlyKey     = "readonly"
	attachedModeKey = "attached_mode"
)

// SetReadOnly says whether the volume is attached to be read only. It must not be attached.
func (s *Service) SetReadOnly(ctx context.Context, scope Scope, id string, readOnly bool) error {
	_, err := s.changeVolume(ctx, scope, id, func(_ *record.Tx, v *Volume) error {
		if v.Status != Available {
			return invalidVolume("Volume %s status must be available to update readonly flag, but current status is: %s.", id, v.Status)
		}
		v.ReadOnly = readOnly
		v.AdminMetadata = merged(v.AdminMetadata, map[string]string{readOnlyKey: pythonBool(readOnly)}, false)
		return nil
	})
	return err
}

func pythonBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// ResetVolume sets a volume's statuses and does nothing else (for admins).
func (s *Service) ResetVolume(ctx context.Context, scope Scope, id string, reset ResetSpec) error {
	if err := mustAdmin(scope, "volume_extension:volume_admin_actions:reset_status"); err != nil {
		return err
	}
	_, err := s.changeVolume(ctx, scope, id, func(_ *record.Tx, v *Volume) error {
		if reset.Status != "" {
			v.Status = reset.Status
		}
		if reset.AttachStatus != "" {
			v.AttachStatus = reset.AttachStatus
		}
		if reset.MigrationStatus != "" {
			v.MigrationStatus = strings.TrimSuffix(reset.MigrationStatus, "none")
		}
		return nil
	})
	return err
}

// ExtendVolume makes a volume larger, in use too. Whoever uses it is told when it has grown. Where the pool has no room,
// the volume is as it was, and a [Message] says so.
func (s *Service) ExtendVolume(ctx context.Context, scope Scope, id string, sizeGiB int) error {
	_, err := s.changeVolume(ctx, scope, id, func(tx *record.Tx, v *Volume) error {
		if v.Status != Available && v.Status != InUse {
			return invalidVolume("Volume %s status must be available or in-use to extend, currently %s.", id, v.Status)
		}
		if sizeGiB <= v.SizeGiB {
			return fault.Wrap(ErrInvalid, "Invalid input received: New size for extend must be greater than current size. (current: %d, extended: %d).", v.SizeGiB, sizeGiB)
		}
		if sizeGiB > maxGiB {
			return fault.Wrap(ErrInvalid, "Invalid input received: size %d is larger than any volume can be", sizeGiB)
		}
		if err := s.checkThawed(tx, v.Host); err != nil {
			return err
		}
		if err := s.fitsQuota(tx, v, sizeGiB); err != nil {
			return err
		}
		if fits, err := s.growthFits(tx, v, sizeGiB); err != nil || !fits {
			return errors.Join(err, s.message(tx, v.ProjectID, scope.RequestID, aboutVolume, v.ID, actionExtend, detailNoBackend))
		}
		v.Task = Task{Kind: TaskExtend, SizeGiB: sizeGiB, Before: v.Status, RequestID: scope.RequestID}
		// The quota counts the new size from now on; what becomes of it is known later.
		v.PreviousStatus, v.Status = v.Status, Extending
		return nil
	})
	return err
}

// growthFits says whether the volume's pool has room for it to grow.
func (s *Service) growthFits(tx *record.Tx, v *Volume, sizeGiB int) (bool, error) {
	p, err := s.pools.Get(tx, v.Host)
	if err != nil {
		return true, notFoundIsNil(err) // its agent will say
	}
	promised, err := s.promised(tx, v.Host)
	_, fits := p.room(promised, int64(sizeGiB-v.SizeGiB)*gib)
	return fits, err
}

// fitsQuota refuses a volume that would become larger than the project may have. Others that grow at the same time count
// with what they grow to.
func (s *Service) fitsQuota(tx *record.Tx, v *Volume, sizeGiB int) error {
	if err := s.checkSize(tx, v.ProjectID, sizeGiB); err != nil {
		return err
	}
	growing, err := s.volumes.List(tx, record.Query{Where: []record.Condition{record.Eq("project", v.ProjectID), record.Eq("task", string(TaskExtend))}})
	if err != nil {
		return err
	}
	more := sizeGiB - v.SizeGiB
	for i := range growing {
		if growing[i].ID != v.ID {
			more += growing[i].Task.SizeGiB - growing[i].SizeGiB
		}
	}
	name := ""
	if t, err := s.types.Get(tx, v.TypeID); err == nil {
		name = t.Name
	}
	if !v.ConsumesQuota() {
		return nil
	}
	return s.reserve(tx, v.ProjectID, name, map[string]int{"gigabytes": more})
}

// RevertToSnapshot gives a volume the content of its newest snapshot again.
func (s *Service) RevertToSnapshot(ctx context.Context, scope Scope, id, snapshotID string) error {
	_, err := s.changeVolume(ctx, scope, id, func(tx *record.Tx, v *Volume) error {
		p, err := s.visibleSnapshot(tx, scope, snapshotID)
		if err != nil {
			return err
		}
		newest, err := s.snapshots.List(tx, record.Query{
			Where: []record.Condition{record.Eq("volume", id)},
			Order: []record.Order{{Column: "created", Descending: true}}, Limit: 1,
		})
		if err != nil {
			return err
		}
		switch {
		case len(newest) == 0 || newest[0].ID != p.ID:
			return fault.Wrap(ErrInvalid, "Invalid input received: Specified snapshot %s isn't the latest one of volume %s.", snapshotID, id)
		case v.SizeGiB != p.SizeGiB && v.Status == InUse, v.Status != Available:
			return invalidVolume("Can't revert volume %s to its latest snapshot %s. Volume's status must be 'available'.", id, snapshotID)
		case p.Status != Available:
			return fault.Wrap(ErrInvalid, "Invalid snapshot: Can't revert volume %s to its latest snapshot %s. Snapshot's status must be 'available'.", id, snapshotID)
		}
		if err := s.checkThawed(tx, v.Host); err != nil {
			return err
		}
		v.Task = Task{Kind: TaskRevert, ID: snapshotID, Before: v.Status, RequestID: scope.RequestID}
		v.Status, p.Status = Reverting, Restoring
		return s.saveSnapshot(tx, p)
	})
	return err
}
