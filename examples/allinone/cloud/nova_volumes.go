package cloud

import (
	"context"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/nova"
	"github.com/kintoun/kintoun/volume"
)

// novaVolumes are the volumes of Nova's old calls for them.
type novaVolumes struct{ volumes *volume.Service }

var _ nova.Volumes = novaVolumes{}

func oldVolume(v *volume.Volume) nova.Volume {
	old := nova.Volume{
		ID: v.ID, Name: v.Name, Description: v.Description, Status: string(v.Status), SizeGiB: v.SizeGiB, Zone: v.Zone,
		Type: v.TypeName, SnapshotID: v.SnapshotID, Metadata: v.Metadata, CreatedAt: v.CreatedAt,
	}
	for i := range v.Attachments {
		if a := &v.Attachments[i]; a.ServerID != "" {
			old.ServerID, old.Device = a.ServerID, a.Device
			break
		}
	}
	return old
}

func (n novaVolumes) Volumes(ctx context.Context, scope compute.Scope) ([]nova.Volume, error) {
	list, err := n.volumes.Volumes(ctx, volumeScope(scope), volume.ListOptions{})
	old := make([]nova.Volume, len(list))
	for i := range list {
		old[i] = oldVolume(&list[i])
	}
	return old, err
}

func (n novaVolumes) Volume(ctx context.Context, scope compute.Scope, id string) (nova.Volume, error) {
	v, err := n.volumes.Volume(ctx, volumeScope(scope), id)
	if err != nil {
		return nova.Volume{}, err
	}
	return oldVolume(v), nil
}

func (n novaVolumes) CreateVolume(ctx context.Context, scope compute.Scope, spec nova.VolumeSpec) (nova.Volume, error) {
	v, err := n.volumes.CreateVolume(ctx, volumeScope(scope), volume.VolumeSpec{
		Name: spec.Name, Description: spec.Description, SizeGiB: spec.SizeGiB, Type: spec.Type, Zone: spec.Zone, SnapshotID: spec.SnapshotID,
		Metadata: spec.Metadata,
	})
	if err != nil {
		return nova.Volume{}, err
	}
	return oldVolume(v), nil
}

func (n novaVolumes) DeleteVolume(ctx context.Context, scope compute.Scope, id string) error {
	return n.volumes.DeleteVolume(ctx, volumeScope(scope), id, volume.DeleteOptions{})
}

func oldSnapshot(p *volume.Snapshot) nova.Snapshot {
	return nova.Snapshot{
		ID: p.ID, Name: p.Name, Description: p.Description, Status: string(p.Status), VolumeID: p.VolumeID, SizeGiB: p.SizeGiB, CreatedAt: p.CreatedAt,
	}
}

func (n novaVolumes) Snapshots(ctx context.Context, scope compute.Scope) ([]nova.Snapshot, error) {
	list, err := n.volumes.Snapshots(ctx, volumeScope(scope), volume.ListOptions{})
	old := make([]nova.Snapshot, len(list))
	for i := range list {
		old[i] = oldSnapshot(&list[i])
	}
	return old, err
}

func (n novaVolumes) Snapshot(ctx context.Context, scope compute.Scope, id string) (nova.Snapshot, error) {
	p, err := n.volumes.Snapshot(ctx, volumeScope(scope), id)
	if err != nil {
		return nova.Snapshot{}, err
	}
	return oldSnapshot(p), nil
}

func (n novaVolumes) CreateSnapshot(ctx context.Context, scope compute.Scope, spec nova.SnapshotSpec) (nova.Snapshot, error) {
	p, err := n.volumes.CreateSnapshot(ctx, volumeScope(scope), volume.SnapshotSpec{
		VolumeID: spec.VolumeID, Name: spec.Name, Description: spec.Description, Force: spec.Force,
	})
	if err != nil {
		return nova.Snapshot{}, err
	}
	return oldSnapshot(p), nil
}

func (n novaVolumes) DeleteSnapshot(ctx context.Context, scope compute.Scope, id string) error {
	return n.volumes.DeleteSnapshot(ctx, volumeScope(scope), id, false)
}
