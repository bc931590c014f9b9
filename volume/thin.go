package volume

import "context"

// CreateVolume makes a volume: it is returned as it is being made.
func (s *Service) CreateVolume(ctx context.Context, scope Scope, spec VolumeSpec) (*Volume, error) {
	return nil, unsupported("CreateVolume")
}

// Volume returns the volume of that identifier.
func (s *Service) Volume(ctx context.Context, scope Scope, id string) (*Volume, error) {
	return nil, unsupported("Volume")
}

// Volumes lists volumes.
func (s *Service) Volumes(ctx context.Context, scope Scope, options ListOptions) ([]Volume, error) {
	return nil, unsupported("Volumes")
}

// CountVolumes counts what Volumes lists without Limit, Offset and Marker.
func (s *Service) CountVolumes(ctx context.Context, scope Scope, options ListOptions) (int, error) {
	return 0, unsupported("CountVolumes")
}

// VolumesSummary counts and adds up volumes.
func (s *Service) VolumesSummary(ctx context.Context, scope Scope, options ListOptions) (*VolumesSummary, error) {
	return nil, unsupported("VolumesSummary")
}

// UpdateVolume changes a volume's name, description or metadata.
func (s *Service) UpdateVolume(ctx context.Context, scope Scope, id string, update VolumeUpdate) (*Volume, error) {
	return nil, unsupported("UpdateVolume")
}

// DeleteVolume deletes a volume: it is gone when its agent has done so.
func (s *Service) DeleteVolume(ctx context.Context, scope Scope, id string, options DeleteOptions) error {
	return unsupported("DeleteVolume")
}

// ExtendVolume makes a volume larger, in use too.
func (s *Service) ExtendVolume(ctx context.Context, scope Scope, id string, sizeGiB int) error {
	return unsupported("ExtendVolume")
}

// SetVolumeMetadata adds to a volume's metadata, or replaces it.
func (s *Service) SetVolumeMetadata(ctx context.Context, scope Scope, id string, metadata map[string]string, replace bool) (map[string]string, error) {
	return nil, unsupported("SetVolumeMetadata")
}

// DeleteVolumeMetadata removes a key.
func (s *Service) DeleteVolumeMetadata(ctx context.Context, scope Scope, id string, key string) error {
	return unsupported("DeleteVolumeMetadata")
}

// SetVolumeImageMetadata adds to what is known of the image a volume was made from.
func (s *Service) SetVolumeImageMetadata(ctx context.Context, scope Scope, id string, metadata map[string]string) (map[string]string, error) {
	return nil, unsupported("SetVolumeImageMetadata")
}

// DeleteVolumeImageMetadata removes a key.
func (s *Service) DeleteVolumeImageMetadata(ctx context.Context, scope Scope, id string, key string) error {
	return unsupported("DeleteVolumeImageMetadata")
}

// SetBootable says whether servers can boot from the volume.
func (s *Service) SetBootable(ctx context.Context, scope Scope, id string, bootable bool) error {
	return unsupported("SetBootable")
}

// SetReadOnly says whether the volume is attached to be read only.
func (s *Service) SetReadOnly(ctx context.Context, scope Scope, id string, readOnly bool) error {
	return unsupported("SetReadOnly")
}

// ResetVolume sets a volume's statuses and does nothing else (for admins).
func (s *Service) ResetVolume(ctx context.Context, scope Scope, id string, reset ResetSpec) error {
	return unsupported("ResetVolume")
}

// RevertToSnapshot gives a volume the content of its newest snapshot again.
func (s *Service) RevertToSnapshot(ctx context.Context, scope Scope, id string, snapshotID string) error {
	return unsupported("RevertToSnapshot")
}

// Await returns the volume as soon as ready says so of it, or ctx's error. A volume that is gone is [ErrNotFound].
func (s *Service) Await(ctx context.Context, scope Scope, id string, ready func(v *Volume) bool) (*Volume, error) {
	return nil, unsupported("Await")
}

// ReserveVolume promises the volume to whoever attaches it next.
func (s *Service) ReserveVolume(ctx context.Context, scope Scope, id string) error {
	return unsupported("ReserveVolume")
}

// UnreserveVolume takes the promise back.
func (s *Service) UnreserveVolume(ctx context.Context, scope Scope, id string) error {
	return unsupported("UnreserveVolume")
}

// AttachVolume says that a reserved volume is attached.
func (s *Service) AttachVolume(ctx context.Context, scope Scope, id string, options AttachOptions) error {
	return unsupported("AttachVolume")
}

// DetachVolume says that the volume is detached; without an attachment's identifier, its only one is meant.
func (s *Service) DetachVolume(ctx context.Context, scope Scope, id string, attachmentID string) error {
	return unsupported("DetachVolume")
}

// BeginDetaching says that the volume is about to be detached.
func (s *Service) BeginDetaching(ctx context.Context, scope Scope, id string) error {
	return unsupported("BeginDetaching")
}

// RollDetaching says that it stays attached after all.
func (s *Service) RollDetaching(ctx context.Context, scope Scope, id string) error {
	return unsupported("RollDetaching")
}

// InitializeConnection makes the volume reachable from the connector's host.
func (s *Service) InitializeConnection(ctx context.Context, scope Scope, id string, connector Connector) (*Attachment, error) {
	return nil, unsupported("InitializeConnection")
}

// TerminateConnection ends that.
func (s *Service) TerminateConnection(ctx context.Context, scope Scope, id string, connector Connector) error {
	return unsupported("TerminateConnection")
}

// ForceDetach ends an attachment, or all, whatever their status is (for admins).
func (s *Service) ForceDetach(ctx context.Context, scope Scope, id string, attachmentID string, connector *Connector) error {
	return unsupported("ForceDetach")
}

// CreateAttachment reserves the volume, and connects it where a connector is given.
func (s *Service) CreateAttachment(ctx context.Context, scope Scope, spec AttachmentSpec) (*Attachment, error) {
	return nil, unsupported("CreateAttachment")
}

// UpdateAttachment connects.
func (s *Service) UpdateAttachment(ctx context.Context, scope Scope, id string, connector Connector) (*Attachment, error) {
	return nil, unsupported("UpdateAttachment")
}

// CompleteAttachment says that the server has the disk.
func (s *Service) CompleteAttachment(ctx context.Context, scope Scope, id string) error {
	return unsupported("CompleteAttachment")
}

// DeleteAttachment disconnects and forgets.
func (s *Service) DeleteAttachment(ctx context.Context, scope Scope, id string) error {
	return unsupported("DeleteAttachment")
}

// SetAttachmentDevice says under which name the server has the disk.
func (s *Service) SetAttachmentDevice(ctx context.Context, scope Scope, id string, device string) error {
	return unsupported("SetAttachmentDevice")
}

// Attachment returns the attachment of that identifier.
func (s *Service) Attachment(ctx context.Context, scope Scope, id string) (*Attachment, error) {
	return nil, unsupported("Attachment")
}

// Attachments lists attachments.
func (s *Service) Attachments(ctx context.Context, scope Scope, options ListOptions) ([]Attachment, error) {
	return nil, unsupported("Attachments")
}

// CreateSnapshot takes a snapshot: it is returned as it is being taken.
func (s *Service) CreateSnapshot(ctx context.Context, scope Scope, spec SnapshotSpec) (*Snapshot, error) {
	return nil, unsupported("CreateSnapshot")
}

// Snapshot returns the snapshot of that identifier.
func (s *Service) Snapshot(ctx context.Context, scope Scope, id string) (*Snapshot, error) {
	return nil, unsupported("Snapshot")
}

// Snapshots lists snapshots.
func (s *Service) Snapshots(ctx context.Context, scope Scope, options ListOptions) ([]Snapshot, error) {
	return nil, unsupported("Snapshots")
}

// CountSnapshots counts what Snapshots lists without Limit, Offset and Marker.
func (s *Service) CountSnapshots(ctx context.Context, scope Scope, options ListOptions) (int, error) {
	return 0, unsupported("CountSnapshots")
}

// UpdateSnapshot changes a snapshot's name, description or metadata.
func (s *Service) UpdateSnapshot(ctx context.Context, scope Scope, id string, update SnapshotUpdate) (*Snapshot, error) {
	return nil, unsupported("UpdateSnapshot")
}

// DeleteSnapshot deletes a snapshot: it is gone when its agent has done so.
func (s *Service) DeleteSnapshot(ctx context.Context, scope Scope, id string, force bool) error {
	return unsupported("DeleteSnapshot")
}

// SetSnapshotMetadata adds to a snapshot's metadata, or replaces it.
func (s *Service) SetSnapshotMetadata(ctx context.Context, scope Scope, id string, metadata map[string]string, replace bool) (map[string]string, error) {
	return nil, unsupported("SetSnapshotMetadata")
}

// DeleteSnapshotMetadata removes a key.
func (s *Service) DeleteSnapshotMetadata(ctx context.Context, scope Scope, id string, key string) error {
	return unsupported("DeleteSnapshotMetadata")
}

// ResetSnapshot sets a snapshot's status and does nothing else (for admins).
func (s *Service) ResetSnapshot(ctx context.Context, scope Scope, id string, status Status) error {
	return unsupported("ResetSnapshot")
}

// UpdateSnapshotStatus is what a hypervisor says of a snapshot that it takes itself.
func (s *Service) UpdateSnapshotStatus(ctx context.Context, scope Scope, id string, status Status, progress string) error {
	return unsupported("UpdateSnapshotStatus")
}

// AwaitSnapshot returns the snapshot as soon as ready says so of it, or ctx's error. One that is gone is [ErrNotFound].
func (s *Service) AwaitSnapshot(ctx context.Context, scope Scope, id string, ready func(p *Snapshot) bool) (*Snapshot, error) {
	return nil, unsupported("AwaitSnapshot")
}

// CreateType makes a type.
func (s *Service) CreateType(ctx context.Context, scope Scope, create TypeCreate) (*Type, error) {
	return nil, unsupported("CreateType")
}

// Type returns a type.
func (s *Service) Type(ctx context.Context, scope Scope, nameOrID string) (*Type, error) {
	return nil, unsupported("Type")
}

// Types lists types, the latest first.
func (s *Service) Types(ctx context.Context, scope Scope, filter TypeFilter) ([]Type, error) {
	return nil, unsupported("Types")
}

// UpdateType changes a type.
func (s *Service) UpdateType(ctx context.Context, scope Scope, id string, update TypeUpdate) (*Type, error) {
	return nil, unsupported("UpdateType")
}

// DeleteType deletes a type that no volume has.
func (s *Service) DeleteType(ctx context.Context, scope Scope, id string) error {
	return unsupported("DeleteType")
}

// DefaultType returns the type of volumes whose makers name none.
func (s *Service) DefaultType(ctx context.Context, scope Scope) (*Type, error) {
	return nil, unsupported("DefaultType")
}

// SetTypeSpecs adds extra specs.
func (s *Service) SetTypeSpecs(ctx context.Context, scope Scope, id string, specs map[string]string) (map[string]string, error) {
	return nil, unsupported("SetTypeSpecs")
}

// DeleteTypeSpec removes an extra spec.
func (s *Service) DeleteTypeSpec(ctx context.Context, scope Scope, id string, key string) error {
	return unsupported("DeleteTypeSpec")
}

// AddTypeAccess lets a project use a private type.
func (s *Service) AddTypeAccess(ctx context.Context, scope Scope, id string, projectID string) error {
	return unsupported("AddTypeAccess")
}

// RemoveTypeAccess takes that back.
func (s *Service) RemoveTypeAccess(ctx context.Context, scope Scope, id string, projectID string) error {
	return unsupported("RemoveTypeAccess")
}

// TypeAccess lists the projects that may use a private type.
func (s *Service) TypeAccess(ctx context.Context, scope Scope, id string) ([]string, error) {
	return nil, unsupported("TypeAccess")
}

// Services lists the agents and the scheduler.
func (s *Service) Services(ctx context.Context, scope Scope) ([]ServiceInfo, error) {
	return nil, unsupported("Services")
}

// EnableService lets an agent have new volumes, or not.
func (s *Service) EnableService(ctx context.Context, scope Scope, host, binary string, enabled bool, reason string) (*ServiceInfo, error) {
	return nil, unsupported("EnableService")
}

// FreezeHost keeps a backend from being changed through the API.
func (s *Service) FreezeHost(ctx context.Context, scope Scope, host string) error {
	return unsupported("FreezeHost")
}

// ThawHost takes that back.
func (s *Service) ThawHost(ctx context.Context, scope Scope, host string) error {
	return unsupported("ThawHost")
}

// Pools lists the pools.
func (s *Service) Pools(ctx context.Context, scope Scope, detail bool) ([]PoolInfo, error) {
	return nil, unsupported("Pools")
}

// Capabilities says what a backend can do.
func (s *Service) Capabilities(ctx context.Context, scope Scope, host string) (*CapabilityInfo, error) {
	return nil, unsupported("Capabilities")
}

// Hosts lists the hosts.
func (s *Service) Hosts(ctx context.Context, scope Scope) ([]HostInfo, error) {
	return nil, unsupported("Hosts")
}

// Host says what a host has.
func (s *Service) Host(ctx context.Context, scope Scope, host string) (*HostInfo, error) {
	return nil, unsupported("Host")
}

// Zones lists the availability zones.
func (s *Service) Zones(ctx context.Context, scope Scope) ([]ZoneInfo, error) {
	return nil, unsupported("Zones")
}

// Limits returns the bounds of the scope's project and what it uses.
func (s *Service) Limits(ctx context.Context, scope Scope) (*Limits, error) {
	return nil, unsupported("Limits")
}

// Messages lists the project's messages.
func (s *Service) Messages(ctx context.Context, scope Scope, options ListOptions) ([]Message, error) {
	return nil, unsupported("Messages")
}

// Message returns a message.
func (s *Service) Message(ctx context.Context, scope Scope, id string) (*Message, error) {
	return nil, unsupported("Message")
}

// DeleteMessage deletes a message.
func (s *Service) DeleteMessage(ctx context.Context, scope Scope, id string) error {
	return unsupported("DeleteMessage")
}

// Quota returns what a project may have.
func (s *Service) Quota(ctx context.Context, projectID string) (Quota, error) {
	return nil, unsupported("Quota")
}

// QuotaUsage returns what a project may have and what it uses.
func (s *Service) QuotaUsage(ctx context.Context, projectID string) (map[string]QuotaUse, error) {
	return nil, unsupported("QuotaUsage")
}

// SetQuota changes what a project may have.
func (s *Service) SetQuota(ctx context.Context, projectID string, change map[string]int) (Quota, error) {
	return nil, unsupported("SetQuota")
}

// DeleteQuota gives a project the default quota again.
func (s *Service) DeleteQuota(ctx context.Context, projectID string) error {
	return unsupported("DeleteQuota")
}

// DefaultQuotas returns what a project may have without a quota of its own.
func (s *Service) DefaultQuotas(ctx context.Context) (Quota, error) {
	return nil, unsupported("DefaultQuotas")
}

// SetDefaultQuotas changes that.
func (s *Service) SetDefaultQuotas(ctx context.Context, change map[string]int) (Quota, error) {
	return nil, unsupported("SetDefaultQuotas")
}

// ensureDefaultType makes the default type.
func (s *Service) ensureDefaultType(_ context.Context) error {
	return nil
}
