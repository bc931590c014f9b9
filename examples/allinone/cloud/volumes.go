package cloud

import (
	"context"
	"errors"
	"strconv"

	"github.com/kintoun/kintoun/compute"
	computedriver "github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/volume"
)

// computeVolumes gives servers the volumes that they need.
type computeVolumes struct{ volumes *volume.Service }

var (
	_ compute.Volumes     = computeVolumes{}
	_ compute.Connector   = computeVolumes{}
	_ compute.Snapshotter = computeVolumes{}
)

// asVolumes is the whole cloud, to the volume service.
func asVolumes() volume.Scope { return volume.Scope{Admin: true} }

func volumeScope(s compute.Scope) volume.Scope {
	return volume.Scope{ProjectID: s.ProjectID, UserID: s.UserID, Admin: s.Admin, Roles: s.Roles, RequestID: s.RequestID}
}

func describeVolume(v *volume.Volume) compute.Volume {
	return compute.Volume{
		ID: v.ID, Name: v.Name, Status: string(v.Status), SizeGiB: v.SizeGiB, Bootable: v.Bootable, Shareable: v.Multiattach, Zone: v.Zone,
		Image: bootImage(v.ImageMetadata),
	}
}

// bootImage is what the metadata of a volume, or of a snapshot's volume, says about the image that it came from.
func bootImage(of map[string]string) compute.Image {
	number := func(name string) int {
		n, _ := strconv.Atoi(of[name])
		return n
	}
	return compute.Image{
		ID: of["image_id"], Name: of["image_name"], MinDiskGiB: number("min_disk"), MinRAMMiB: number("min_ram"),
		KernelID: of["kernel_id"], RamdiskID: of["ramdisk_id"], CommandLine: of["os_command_line"],
	}
}

func (c computeVolumes) Volume(ctx context.Context, scope compute.Scope, id string) (compute.Volume, error) {
	v, err := c.volumes.Volume(ctx, volumeScope(scope), id)
	if err != nil {
		return compute.Volume{}, err
	}
	return describeVolume(v), nil
}

func (c computeVolumes) AwaitVolume(ctx context.Context, scope compute.Scope, id string) (compute.Volume, error) {
	v, err := c.volumes.Await(ctx, volumeScope(scope), id, func(v *volume.Volume) bool {
		return v.Status != volume.Creating && v.Status != volume.Downloading
	})
	if err != nil {
		return compute.Volume{}, err
	}
	described := describeVolume(v)
	if v.Status == volume.Errored {
		described.Reason = c.reason(ctx, v)
	}
	return described, nil
}

// reason is what the cloud told the volume's owner last about it.
func (c computeVolumes) reason(ctx context.Context, v *volume.Volume) string {
	messages, err := c.volumes.Messages(ctx, volume.Scope{ProjectID: v.ProjectID}, volume.ListOptions{Equal: map[string]string{"resource_uuid": v.ID}, Limit: 1})
	if err != nil || len(messages) == 0 {
		return ""
	}
	return messages[0].Text
}

func (c computeVolumes) Snapshot(ctx context.Context, scope compute.Scope, id string) (compute.Snapshot, error) {
	p, err := c.volumes.Snapshot(ctx, volumeScope(scope), id)
	if err != nil {
		return compute.Snapshot{}, err
	}
	described := compute.Snapshot{ID: p.ID, VolumeID: p.VolumeID, Status: string(p.Status), SizeGiB: p.SizeGiB}
	v, err := c.volumes.Volume(ctx, asVolumes(), p.VolumeID)
	if err == nil {
		described.Image = bootImage(v.ImageMetadata)
	} else if errors.Is(err, volume.ErrNotFound) {
		err = nil
	}
	return described, err
}

func (c computeVolumes) CreateVolume(ctx context.Context, scope compute.Scope, spec compute.VolumeSpec) (compute.Volume, error) {
	v, err := c.volumes.CreateVolume(ctx, volumeScope(scope), volume.VolumeSpec{
		ID: spec.ID, Name: spec.Name, SizeGiB: spec.SizeGiB, Type: spec.Type, Zone: spec.Zone,
		ImageID: spec.ImageID, SnapshotID: spec.SnapshotID, SourceVolumeID: spec.VolumeID,
	})
	if err != nil {
		return compute.Volume{}, err
	}
	return describeVolume(v), nil
}

// DeleteVolume uses force only to end what is being made: a volume that is promised to somebody else stays.
func (c computeVolumes) DeleteVolume(ctx context.Context, id string) error {
	v, err := c.volumes.Volume(ctx, asVolumes(), id)
	if err != nil {
		return gone(err)
	}
	making := v.Status == volume.Creating || v.Status == volume.Downloading
	return gone(c.volumes.DeleteVolume(ctx, asVolumes(), id, volume.DeleteOptions{Force: making}))
}

func (c computeVolumes) Attachments(ctx context.Context, serverID string) (map[string]string, error) {
	list, err := c.volumes.Attachments(ctx, asVolumes(), volume.ListOptions{AllProjects: true, Equal: map[string]string{"instance_id": serverID}})
	if err != nil {
		return nil, err
	}
	byVolume := make(map[string]string, len(list))
	for i := range list {
		byVolume[list[i].VolumeID] = list[i].ID
	}
	return byVolume, nil
}

func (c computeVolumes) ReserveVolume(ctx context.Context, scope compute.Scope, volumeID, serverID string) (string, error) {
	a, err := c.volumes.CreateAttachment(ctx, volumeScope(scope), volume.AttachmentSpec{VolumeID: volumeID, ServerID: serverID})
	if err != nil {
		return "", err
	}
	return a.ID, nil
}

func (c computeVolumes) DropAttachment(ctx context.Context, attachmentID string) error {
	return gone(c.volumes.DeleteAttachment(ctx, asVolumes(), attachmentID))
}

func (c computeVolumes) CreateSnapshot(ctx context.Context, scope compute.Scope, volumeID, name string) (string, error) {
	p, err := c.volumes.CreateSnapshot(ctx, volumeScope(scope), volume.SnapshotSpec{VolumeID: volumeID, Name: name, Force: true})
	if err != nil {
		return "", err
	}
	return p.ID, nil
}

func (c computeVolumes) DeleteSnapshot(ctx context.Context, id string) error {
	return gone(c.volumes.DeleteSnapshot(ctx, asVolumes(), id, true))
}

// Connect returns when the volume's pool has made the connection.
func (c computeVolumes) Connect(ctx context.Context, attachmentID, host string) (computedriver.Volume, error) {
	a, err := c.volumes.UpdateAttachment(ctx, asVolumes(), attachmentID, volume.Connector{Host: host})
	if err != nil {
		return computedriver.Volume{}, err
	}
	v, err := c.volumes.Volume(ctx, asVolumes(), a.VolumeID)
	if err != nil {
		return computedriver.Volume{}, err
	}
	d := computedriver.Volume{ID: v.ID, Path: a.Target.Path, Format: a.Target.Format, Bytes: a.Target.Bytes, ReadOnly: a.Target.ReadOnly, Shared: v.Multiattach}
	if n := a.Target.NBD; n != nil {
		d.NBD = &computedriver.NBD{Socket: n.Socket, Address: n.Address, Export: n.Export}
		if n.TLS != nil {
			d.NBD.CA, d.NBD.Certificate, d.NBD.Key = n.TLS.CA, n.TLS.Certificate, n.TLS.Key
		}
	}
	if r := a.Target.RBD; r != nil {
		d.RBD = &computedriver.RBD{Monitors: r.Monitors, Pool: r.Pool, Namespace: r.Namespace, Image: r.Image, User: r.User, Key: r.Key}
	}
	if v.Encrypted {
		d.Format = "raw" // the container's; what is in it is the disk
		if d.Passphrase, err = c.volumes.Passphrase(ctx, asVolumes(), v.ID); err != nil {
			return d, err
		}
	}
	d.Limits, err = c.limits(ctx, v)
	return d, err
}

// limits are those that the volume's type asks the server's host to keep.
func (c computeVolumes) limits(ctx context.Context, v *volume.Volume) (limits computedriver.DiskLimits, err error) {
	if v.TypeID == "" {
		return limits, nil
	}
	t, err := c.volumes.Type(ctx, asVolumes(), v.TypeID)
	if err != nil || t.QoSID == "" {
		return limits, err
	}
	q, err := c.volumes.QoS(ctx, asVolumes(), t.QoSID)
	if err != nil || q.Consumer == "back-end" {
		return limits, err
	}
	for name, field := range map[string]*int64{
		"total_iops_sec": &limits.IOPS, "read_iops_sec": &limits.ReadIOPS, "write_iops_sec": &limits.WriteIOPS,
		"total_bytes_sec": &limits.Bytes, "read_bytes_sec": &limits.ReadBytes, "write_bytes_sec": &limits.WriteBytes,
	} {
		// What is no number limits nothing: Cinder takes any words here.
		*field, _ = strconv.ParseInt(q.Specs[name], 10, 64)
	}
	return limits, nil
}

func (c computeVolumes) Connected(ctx context.Context, attachmentID, device string) error {
	if err := c.volumes.SetAttachmentDevice(ctx, asVolumes(), attachmentID, device); err != nil {
		return err
	}
	return c.volumes.CompleteAttachment(ctx, asVolumes(), attachmentID)
}

func (c computeVolumes) Disconnect(ctx context.Context, attachmentID string) error {
	return c.DropAttachment(ctx, attachmentID)
}

// extendedVolumes tells servers that their volumes have grown.
type extendedVolumes struct{ cloud *Cloud }

func (e extendedVolumes) VolumeExtended(ctx context.Context, serverID, volumeID string, sizeGiB int) error {
	return e.cloud.Compute.VolumeExtended(ctx, serverID, volumeID, sizeGiB)
}
