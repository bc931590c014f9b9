package computetest

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/compute/driver"
	"github.com/kintoun/kintoun/internal/fault"
)

// Volumes are volumes in memory, and what connects them.
type Volumes struct {
	mu          sync.Mutex
	volumes     map[string]*volume
	snapshots   map[string]compute.Snapshot
	attachments map[string]*Attachment
	changed     chan struct{}
	failing     func(call string) error
	// Slow volumes that are made stay "creating" until [Volumes.Finish].
	Slow bool
}

type volume struct {
	compute.Volume
	project string
}

// Attachment is a server's use of a volume.
type Attachment struct {
	ID, VolumeID, ServerID string
	// Host is where it is connected; Device is set once the server has it.
	Host, Device string
}

// NewVolumes returns no volumes.
func NewVolumes() *Volumes {
	return &Volumes{volumes: map[string]*volume{}, snapshots: map[string]compute.Snapshot{}, attachments: map[string]*Attachment{}, changed: make(chan struct{})}
}

// Add makes an available volume for a project.
func (v *Volumes) Add(project string, spec compute.Volume) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if spec.ID == "" {
		spec.ID = uuid.NewString()
	}
	if spec.Status == "" {
		spec.Status = "available"
	}
	spec.SizeGiB = max(spec.SizeGiB, 1)
	v.volumes[spec.ID] = &volume{Volume: spec, project: project}
	return spec.ID
}

// AddSnapshot makes a snapshot.
func (v *Volumes) AddSnapshot(snapshot compute.Snapshot) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	snapshot.ID, snapshot.Status = uuid.NewString(), "available"
	v.snapshots[snapshot.ID] = snapshot
	return snapshot.ID
}

// Finish ends the making of a volume.
func (v *Volumes) Finish(id, status string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.volumes[id].Status = status
	v.tell()
}

func (v *Volumes) tell() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// All are the volumes that there are, by identifier.
func (v *Volumes) All() []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Sorted(maps.Keys(v.volumes))
}

// Attached are the attachments that there are.
func (v *Volumes) Attached() []Attachment {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []Attachment
	for _, id := range slices.Sorted(maps.Keys(v.attachments)) {
		all = append(all, *v.attachments[id])
	}
	return all
}

// Grow makes a volume larger.
func (v *Volumes) Grow(id string, sizeGiB int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.volumes[id].SizeGiB = sizeGiB
}

// FailWith has fn asked before anything is done ("create", "delete", "reserve", "drop", "connect", "connected", "disconnect",
// "snapshot"), and after a volume was promised or an attachment ended ("reserved", "dropped", "disconnected"): then an answer is
// lost. Nil asks nobody. Calls do not overlap.
func (v *Volumes) FailWith(fn func(call string) error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.failing = fn
}

func (v *Volumes) fail(call string) error {
	if v.failing == nil {
		return nil
	}
	return v.failing(call)
}

func (v *Volumes) find(scope compute.Scope, id string) (*volume, error) {
	found := v.volumes[id]
	if found == nil || !scope.Admin && found.project != scope.ProjectID {
		return nil, fault.Wrap(compute.ErrNotFound, "volume %s", id)
	}
	return found, nil
}

// Volume finds a volume.
func (v *Volumes) Volume(_ context.Context, scope compute.Scope, id string) (compute.Volume, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found, err := v.find(scope, id)
	if err != nil {
		return compute.Volume{}, err
	}
	return found.Volume, nil
}

// AwaitVolume waits while a volume is being made.
func (v *Volumes) AwaitVolume(ctx context.Context, scope compute.Scope, id string) (compute.Volume, error) {
	for {
		v.mu.Lock()
		found, err := v.find(scope, id)
		if err != nil || found.Status != "creating" {
			defer v.mu.Unlock()
			if err != nil {
				return compute.Volume{}, err
			}
			return found.Volume, nil
		}
		changed := v.changed
		v.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return compute.Volume{}, ctx.Err()
		}
	}
}

// Snapshot finds a snapshot.
func (v *Volumes) Snapshot(_ context.Context, _ compute.Scope, id string) (compute.Snapshot, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found, ok := v.snapshots[id]
	if !ok {
		return found, fault.Wrap(compute.ErrNotFound, "snapshot %s", id)
	}
	return found, nil
}

// CreateSnapshot makes a snapshot.
func (v *Volumes) CreateSnapshot(_ context.Context, scope compute.Scope, volumeID, _ string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.fail("snapshot"); err != nil {
		return "", err
	}
	of, err := v.find(scope, volumeID)
	if err != nil {
		return "", err
	}
	made := compute.Snapshot{ID: uuid.NewString(), VolumeID: volumeID, Status: "available", SizeGiB: of.SizeGiB, Image: of.Image}
	v.snapshots[made.ID] = made
	return made.ID, nil
}

// DeleteSnapshot deletes a snapshot.
func (v *Volumes) DeleteSnapshot(_ context.Context, id string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.snapshots, id)
	return nil
}

// Snapshots says how many there are.
func (v *Volumes) Snapshots() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.snapshots)
}

// CreateVolume makes a volume.
func (v *Volumes) CreateVolume(_ context.Context, scope compute.Scope, spec compute.VolumeSpec) (compute.Volume, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.fail("create"); err != nil {
		return compute.Volume{}, err
	}
	if v.volumes[spec.ID] != nil {
		return compute.Volume{}, fault.Wrap(compute.ErrConflict, "volume %s", spec.ID)
	}
	made := compute.Volume{ID: spec.ID, Name: spec.Name, SizeGiB: max(spec.SizeGiB, 1), Status: "available", Bootable: spec.ImageID != "" || spec.SnapshotID != ""}
	if v.Slow {
		made.Status = "creating"
	}
	v.volumes[spec.ID] = &volume{Volume: made, project: scope.ProjectID}
	return made, nil
}

// DeleteVolume deletes a volume that nobody has.
func (v *Volumes) DeleteVolume(_ context.Context, id string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.fail("delete"); err != nil {
		return err
	}
	for _, a := range v.attachments {
		if a.VolumeID == id {
			return fault.Wrap(compute.ErrConflict, "volume %s is in use", id)
		}
	}
	delete(v.volumes, id)
	v.tell()
	return nil
}

// Attachments lists a server's attachments by volume.
func (v *Volumes) Attachments(_ context.Context, serverID string) (map[string]string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	found := map[string]string{}
	for _, a := range v.attachments {
		if a.ServerID == serverID {
			found[a.VolumeID] = a.ID
		}
	}
	return found, nil
}

// ReserveVolume promises a volume.
func (v *Volumes) ReserveVolume(_ context.Context, scope compute.Scope, volumeID, serverID string) (string, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.fail("reserve"); err != nil {
		return "", err
	}
	found, err := v.find(scope, volumeID)
	if err != nil {
		return "", err
	}
	if found.Status != "available" && (!found.Shareable || found.Status != "in-use") {
		return "", fault.Wrap(compute.ErrConflict, "volume %s is %s", volumeID, found.Status)
	}
	found.Status = "in-use"
	a := &Attachment{ID: uuid.NewString(), VolumeID: volumeID, ServerID: serverID}
	v.attachments[a.ID] = a
	if err := v.fail("reserved"); err != nil {
		return "", err
	}
	return a.ID, nil
}

// DropAttachment ends an attachment.
func (v *Volumes) DropAttachment(_ context.Context, id string) error {
	return v.end("drop", "dropped", id)
}

// Disconnect ends an attachment.
func (v *Volumes) Disconnect(_ context.Context, id string) error {
	return v.end("disconnect", "disconnected", id)
}

func (v *Volumes) end(call, done, id string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.fail(call); err != nil {
		return err
	}
	a := v.attachments[id]
	if a == nil {
		return nil
	}
	delete(v.attachments, id)
	found := v.volumes[a.VolumeID]
	found.Status = "available"
	for _, other := range v.attachments {
		if other.VolumeID == a.VolumeID {
			found.Status = "in-use"
		}
	}
	return v.fail(done)
}

// Connect describes a volume.
func (v *Volumes) Connect(_ context.Context, attachmentID, host string) (driver.Volume, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.fail("connect"); err != nil {
		return driver.Volume{}, err
	}
	a := v.attachments[attachmentID]
	if a == nil {
		return driver.Volume{}, fault.Wrap(compute.ErrNotFound, "attachment %s", attachmentID)
	}
	a.Host = host
	return driver.Volume{ID: a.VolumeID, Path: "/volumes/" + a.VolumeID, Format: "raw", Bytes: int64(v.volumes[a.VolumeID].SizeGiB) << 30}, nil
}

// Connected notes that a server has its disk.
func (v *Volumes) Connected(_ context.Context, attachmentID, device string) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.fail("connected"); err != nil {
		return err
	}
	a := v.attachments[attachmentID]
	if a == nil || a.Host == "" {
		return errors.New("not connected")
	}
	a.Device = device
	return nil
}
