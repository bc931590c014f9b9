package nova

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// Volumes is what the deprecated calls on volumes and snapshots need of the volume service. What the scope may not see is
// compute.ErrNotFound.
type Volumes interface {
	Volumes(ctx context.Context, scope compute.Scope) ([]Volume, error)
	Volume(ctx context.Context, scope compute.Scope, id string) (Volume, error)
	CreateVolume(ctx context.Context, scope compute.Scope, spec VolumeSpec) (Volume, error)
	DeleteVolume(ctx context.Context, scope compute.Scope, id string) error
	Snapshots(ctx context.Context, scope compute.Scope) ([]Snapshot, error)
	Snapshot(ctx context.Context, scope compute.Scope, id string) (Snapshot, error)
	CreateSnapshot(ctx context.Context, scope compute.Scope, spec SnapshotSpec) (Snapshot, error)
	DeleteSnapshot(ctx context.Context, scope compute.Scope, id string) error
}

// Volume is a volume as these calls show it.
type Volume struct {
	ID, Name, Description, Status string
	SizeGiB                       int
	Zone                          string
	// Type is the type's name; SnapshotID is what it was made from. Both may be empty.
	Type, SnapshotID string
	Metadata         map[string]string
	// ServerID and Device are those of its first attachment; empty for none.
	ServerID, Device string
	CreatedAt        time.Time
}

// VolumeSpec is a volume to make.
type VolumeSpec struct {
	Name, Description, Type, Zone, SnapshotID string
	SizeGiB                                   int
	Metadata                                  map[string]string
}

// Snapshot is a snapshot as these calls show it.
type Snapshot struct {
	ID, Name, Description, Status, VolumeID string
	SizeGiB                                 int
	CreatedAt                               time.Time
}

// SnapshotSpec is a snapshot to make; Force also of a volume that is in use.
type SnapshotSpec struct {
	VolumeID, Name, Description string
	Force                       bool
}

func (a *api) volumeOperations() []operation {
	if a.options.Volumes == nil {
		return nil
	}
	return []operation{
		{method: "GET", path: "/os-volumes", serve: a.proxyVolumes, until: lastProxy},
		{method: "POST", path: "/os-volumes", serve: a.proxyCreateVolume, until: lastProxy},
		{method: "GET", path: "/os-volumes/detail", serve: a.proxyVolumes, until: lastProxy},
		{method: "GET", path: "/os-volumes/{volume}", serve: a.proxyVolume, until: lastProxy},
		{method: "DELETE", path: "/os-volumes/{volume}", serve: a.proxyDeleteVolume, until: lastProxy},
		{method: "GET", path: "/os-snapshots", serve: a.proxySnapshots, until: lastProxy},
		{method: "POST", path: "/os-snapshots", serve: a.proxyCreateSnapshot, until: lastProxy},
		{method: "GET", path: "/os-snapshots/detail", serve: a.proxySnapshots, until: lastProxy},
		{method: "GET", path: "/os-snapshots/{snapshot}", serve: a.proxySnapshot, until: lastProxy},
		{method: "DELETE", path: "/os-snapshots/{snapshot}", serve: a.proxyDeleteSnapshot, until: lastProxy},
	}
}

func proxiedVolume(v *Volume) object {
	attachment := object{}
	if v.ServerID != "" {
		attachment = object{"id": v.ID, "volumeId": v.ID, "serverId": v.ServerID}
		if v.Device != "" {
			attachment["device"] = v.Device
		}
	}
	metadata := v.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	return object{
		"id": v.ID, "status": v.Status, "size": v.SizeGiB, "availabilityZone": v.Zone, "createdAt": precise(v.CreatedAt),
		"attachments": []object{attachment}, "displayName": v.Name, "displayDescription": v.Description,
		"volumeType": nilIfEmpty(v.Type), "snapshotId": nilIfEmpty(v.SnapshotID), "metadata": metadata,
	}
}

func (a *api) proxyVolumes(c *call) error {
	if path, _, _ := strings.Cut(c.RequestURI, "?"); strings.HasSuffix(path, "/") {
		return fault.Wrap(compute.ErrNotFound, "The resource could not be found.") // a volume without an identifier
	}
	all, err := a.options.Volumes.Volumes(c.Context(), c.scope())
	if err != nil {
		return err
	}
	from, to, err := c.window(len(all))
	if err != nil {
		return err
	}
	shown := []object{}
	for i := from; i < to; i++ {
		shown = append(shown, proxiedVolume(&all[i]))
	}
	return c.json(http.StatusOK, object{"volumes": shown})
}

func (a *api) proxyVolume(c *call) error {
	v, err := a.options.Volumes.Volume(c.Context(), c.scope(), c.PathValue("volume"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volume": proxiedVolume(&v)})
}

func (a *api) proxyCreateVolume(c *call) error {
	var body struct {
		Volume struct {
			Size        wire.Int
			Name        string `json:"display_name"`
			Description string `json:"display_description"`
			Type        string `json:"volume_type"`
			SnapshotID  string `json:"snapshot_id"`
			Zone        string `json:"availability_zone"`
			Metadata    map[string]string
		}
	}
	size := bounded(1, 0)
	size.Pattern = digits
	if err := c.body(wrap("volume", record(map[string]*wire.Schema{
		"volume_type": typeString(), "metadata": {Types: []string{"object"}, Others: anything()}, "snapshot_id": typeString(),
		"size": size, "availability_zone": typeString(), "display_name": typeString(), "display_description": typeString(),
	}, "size")), &body); err != nil {
		return err
	}
	in := body.Volume
	v, err := a.options.Volumes.CreateVolume(c.Context(), c.scope(), VolumeSpec{
		Name: in.Name, Description: in.Description, Type: in.Type, Zone: in.Zone, SnapshotID: in.SnapshotID, SizeGiB: int(in.Size), Metadata: in.Metadata,
	})
	if err != nil {
		return err
	}
	c.ResponseWriter.Header().Set("Location", baseURL(c.Request)+c.URL.Path+"/"+v.ID)
	return c.json(http.StatusOK, object{"volume": proxiedVolume(&v)})
}

func (a *api) proxyDeleteVolume(c *call) error {
	if err := a.options.Volumes.DeleteVolume(c.Context(), c.scope(), c.PathValue("volume")); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}

func proxiedSnapshot(s *Snapshot) object {
	return object{
		"id": s.ID, "volumeId": s.VolumeID, "status": s.Status, "size": s.SizeGiB, "createdAt": precise(s.CreatedAt),
		"displayName": s.Name, "displayDescription": s.Description,
	}
}

func (a *api) proxySnapshots(c *call) error {
	all, err := a.options.Volumes.Snapshots(c.Context(), c.scope())
	if err != nil {
		return err
	}
	from, to, err := c.window(len(all))
	if err != nil {
		return err
	}
	shown := []object{}
	for i := from; i < to; i++ {
		shown = append(shown, proxiedSnapshot(&all[i]))
	}
	return c.json(http.StatusOK, object{"snapshots": shown})
}

func (a *api) proxySnapshot(c *call) error {
	s, err := a.options.Volumes.Snapshot(c.Context(), c.scope(), c.PathValue("snapshot"))
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"snapshot": proxiedSnapshot(&s)})
}

func (a *api) proxyCreateSnapshot(c *call) error {
	var body struct {
		Snapshot struct {
			VolumeID    string `json:"volume_id"`
			Name        string `json:"display_name"`
			Description string `json:"display_description"`
			Force       wire.Bool
		}
	}
	if err := c.body(wrap("snapshot", record(map[string]*wire.Schema{
		"volume_id": typeString(), "force": typeBoolean(), "display_name": typeString(), "display_description": typeString(),
	}, "volume_id")), &body); err != nil {
		return err
	}
	in := body.Snapshot
	s, err := a.options.Volumes.CreateSnapshot(c.Context(), c.scope(), SnapshotSpec{VolumeID: in.VolumeID, Name: in.Name, Description: in.Description, Force: bool(in.Force)})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"snapshot": proxiedSnapshot(&s)})
}

func (a *api) proxyDeleteSnapshot(c *call) error {
	if err := a.options.Volumes.DeleteSnapshot(c.Context(), c.scope(), c.PathValue("snapshot")); err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}
