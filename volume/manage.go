package volume

import "context"

// ManageSpec is something in a pool that becomes a volume.
type ManageSpec struct {
	// Host is the pool, Name what it calls the thing.
	Host, Name              string
	VolumeName, Description string
	Type, Zone              string
	Metadata                map[string]string
	Bootable                bool
}

// ManageSnapshotSpec is something in a pool that becomes a snapshot.
type ManageSnapshotSpec struct {
	VolumeID, Name            string
	SnapshotName, Description string
	Metadata                  map[string]string
}

// Manageable is something that a pool holds.
type Manageable struct {
	Name    string
	SizeGiB int
	Safe    bool
	Reason  string
	// VolumeID is the volume or snapshot that it is already.
	VolumeID string
	// SourceName is the volume of a snapshot.
	SourceName string
}

// ManageVolume makes a volume of something that a pool holds.
func (s *Service) ManageVolume(ctx context.Context, scope Scope, spec ManageSpec) (*Volume, error) {
	return nil, unsupported("ManageVolume")
}

// UnmanageVolume forgets a volume and leaves its content.
func (s *Service) UnmanageVolume(ctx context.Context, scope Scope, id string) error {
	return unsupported("UnmanageVolume")
}

// ManageableVolumes lists what a pool holds.
func (s *Service) ManageableVolumes(ctx context.Context, scope Scope, host string, options ListOptions) ([]Manageable, error) {
	return nil, unsupported("ManageableVolumes")
}

// ManageSnapshot makes a snapshot of something that a pool holds.
func (s *Service) ManageSnapshot(ctx context.Context, scope Scope, spec ManageSnapshotSpec) (*Snapshot, error) {
	return nil, unsupported("ManageSnapshot")
}

// UnmanageSnapshot forgets a snapshot and leaves its content.
func (s *Service) UnmanageSnapshot(ctx context.Context, scope Scope, id string) error {
	return unsupported("UnmanageSnapshot")
}

// ManageableSnapshots lists what a pool holds.
func (s *Service) ManageableSnapshots(ctx context.Context, scope Scope, host string, options ListOptions) ([]Manageable, error) {
	return nil, unsupported("ManageableSnapshots")
}
