package cinder

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

func (a *api) volumeOperations() []operation {
	return []operation{
		{method: "GET", path: "/volumes", serve: a.listVolumes},
		{method: "GET", path: "/volumes/detail", serve: a.listVolumes},
		{method: "GET", path: "/volumes/summary", serve: a.summarizeVolumes, since: 12},
		{method: "POST", path: "/volumes", serve: a.createVolume},
		{method: "GET", path: "/volumes/{id}", serve: a.showVolume},
		{method: "PUT", path: "/volumes/{id}", serve: a.updateVolume},
		{method: "DELETE", path: "/volumes/{id}", serve: a.deleteVolume},
		{method: "GET", path: "/volumes/{id}/encryption", serve: a.showVolumeEncryption},
		{method: "POST", path: "/volumes/{id}/action", actions: a.volumeActions()},
	}
}

func (a *api) listVolumes(c *call) error {
	options, err := c.listing("volume")
	if err != nil {
		return err
	}
	count, err := c.counted(options, func(o volume.ListOptions) (int, error) { return a.volumes.CountVolumes(c.Context(), c.scope(), o) })
	if err != nil {
		return err
	}
	var volumes []volume.Volume
	if options.Limit > 0 {
		if volumes, err = a.volumes.Volumes(c.Context(), c.scope(), options); err != nil {
			return err
		}
	}
	show := c.volumeSummary
	if c.detailed() {
		show = c.volumeDetail
	}
	return c.listed("volumes", "volumes_links", each(volumes, show), options, count)
}

func (a *api) summarizeVolumes(c *call) error {
	options, err := c.listing("volume")
	if err != nil {
		return err
	}
	options.Limit, options.Offset, options.Marker = 0, 0, ""
	summary, err := a.volumes.VolumesSummary(c.Context(), c.scope(), options)
	if err != nil {
		return err
	}
	o := object{"total_count": summary.Count, "total_size": summary.SizeGiB}
	if c.at(36) {
		o["metadata"] = summary.Metadata
		if summary.Metadata == nil {
			o["metadata"] = object{}
		}
	}
	return c.json(http.StatusOK, object{"volume-summary": o})
}

// naming is how bodies give names and descriptions, by their newer or older keys.
type naming struct {
	Name, Description *trimmed
	OldName           *trimmed `json:"display_name"`
	OldDescription    *trimmed `json:"display_description"`
}

func (n *naming) name() *string        { return textOf(n.Name, n.OldName) }
func (n *naming) description() *string { return textOf(n.Description, n.OldDescription) }

// textOf is the first text that was given.
func textOf(texts ...*trimmed) *string {
	for _, t := range texts {
		if t != nil {
			return (*string)(t)
		}
	}
	return nil
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// createVolume is the body of POST /volumes.
type createVolume struct {
	Volume struct {
		naming
		Size             text
		Type             text      `json:"volume_type"`
		Zone             text      `json:"availability_zone"`
		SnapshotID       text      `json:"snapshot_id"`
		SourceID         text      `json:"source_volid"`
		ConsistencyGroup text      `json:"consistencygroup_id"`
		GroupID          text      `json:"group_id"`
		BackupID         text      `json:"backup_id"`
		ImageRef         text      `json:"imageRef"`
		ImageID          text      `json:"image_id"`
		Multiattach      wire.Bool `json:"multiattach"`
		Metadata         map[string]string
	}
	Hints *struct {
		SameHost      textList `json:"same_host"`
		DifferentHost textList `json:"different_host"`
	} `json:"OS-SCH-HNT:scheduler_hints"`
}

// textList is one text or several.
type textList []string

func (l *textList) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*l = textList{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(l))
}

func createVolumeSchema(minor int) *schema {
	inner := record(fields{
		"name": typeTrimmed(), "description": typeTrimmed(), "display_name": typeTrimmed(), "display_description": typeTrimmed(),
		"volume_type": typeText(), "metadata": typeMetadataOrNull(), "snapshot_id": typeUUIDOrNull(), "source_volid": typeUUIDOrNull(),
		"consistencygroup_id": typeUUIDOrNull(), "size": orNull(typeSize()), "availability_zone": &schema{Types: []string{"string", "null"}, MinLength: 1, MaxLength: 255},
		"multiattach": either(kind("null"), typeBoolean()), "image_id": typeText(), "imageRef": typeText(),
	})
	if minor >= 13 {
		inner.Properties["group_id"] = typeText()
	}
	if minor >= 47 {
		inner.Properties["backup_id"] = typeUUIDOrNull()
	}
	if minor < 53 {
		inner.Others = anything()
	}
	volumes := either(typeUUID(), list(typeUUID()))
	hints := orNull(record(fields{"same_host": volumes, "different_host": volumes, "local_to_instance": typeUUIDOrNull(), "query": {Types: []string{"string", "object"}, Others: anything()}}))
	hints.Others = anything()
	return record(fields{"volume": inner, "OS-SCH-HNT:scheduler_hints": hints}, "volume")
}

func (a *api) createVolume(c *call) error {
	var body createVolume
	if err := c.body(createVolumeSchema(c.minor), &body); err != nil {
		return err
	}
	in := &body.Volume
	spec := volume.VolumeSpec{
		Name: orEmpty(in.name()), Description: orEmpty(in.description()), SizeGiB: in.Size.number(), Type: string(in.Type), Zone: string(in.Zone),
		SnapshotID: string(in.SnapshotID), SourceVolumeID: string(in.SourceID), ImageID: imageID(in.ImageRef, in.ImageID),
		GroupID: string(in.ConsistencyGroup), Metadata: in.Metadata, Multiattach: bool(in.Multiattach),
	}
	if c.at(13) && in.GroupID != "" {
		spec.GroupID = string(in.GroupID)
	}
	if c.at(47) {
		spec.BackupID = string(in.BackupID)
	}
	if body.Hints != nil {
		spec.Hints = volume.Hints{SameHost: body.Hints.SameHost, DifferentHost: body.Hints.DifferentHost}
	}
	v, err := a.volumes.CreateVolume(c.Context(), c.scope(), spec)
	if err != nil {
		return err
	}
	return c.json(http.StatusAccepted, object{"volume": c.volumeCreated(v)})
}

// imageID is an image's identifier, which clients may send as an address.
func imageID(references ...text) string {
	for _, r := range references {
		if r != "" {
			return string(r[strings.LastIndexByte(string(r), '/')+1:])
		}
	}
	return ""
}

func (a *api) showVolume(c *call) error {
	v, err := a.volumes.Volume(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volume": c.volumeDetail(v)})
}

func updateVolumeSchema(minor int) *schema {
	inner := record(fields{
		"name": typeTrimmed(), "description": typeTrimmed(), "display_name": typeTrimmed(), "display_description": typeTrimmed(),
		"metadata": typeMetadata(),
	})
	if minor >= 53 {
		inner.Alternatives = [][]string{{"name"}, {"description"}, {"display_name"}, {"display_description"}, {"metadata"}}
	}
	return wrap("volume", inner)
}

func (a *api) updateVolume(c *call) error {
	var body struct {
		Volume struct {
			naming
			Metadata map[string]string
		}
	}
	if err := c.body(updateVolumeSchema(c.minor), &body); err != nil {
		return err
	}
	in := &body.Volume
	v, err := a.volumes.UpdateVolume(c.Context(), c.scope(), c.id(), volume.VolumeUpdate{Name: in.name(), Description: in.description(), Metadata: in.Metadata})
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, object{"volume": c.volumeCreated(v)})
}

func (a *api) deleteVolume(c *call) error {
	options := volume.DeleteOptions{Cascade: c.flag("cascade")}
	if c.at(23) && c.flag("force") {
		if !c.admin() {
			return forbidden("volume:force_delete")
		}
		options.Force = true
	}
	return c.accepted(a.volumes.DeleteVolume(c.Context(), c.scope(), c.id(), options))
}

// showVolumeEncryption says how a volume is encrypted, as who attaches it asks.
func (a *api) showVolumeEncryption(c *call) error {
	v, err := a.volumes.Volume(c.Context(), c.scope(), c.id())
	if err != nil {
		return err
	}
	if !v.Encrypted {
		return c.json(http.StatusOK, object{})
	}
	t, err := a.volumes.Type(c.Context(), c.scope(), v.TypeID)
	if err != nil {
		return err
	}
	o := object{"encryption_key_id": v.EncryptionKeyID}
	if e := t.Encryption; e != nil {
		o["provider"], o["control_location"], o["cipher"], o["key_size"] = e.Provider, e.ControlLocation, nilIfEmpty(e.Cipher), nilIfZero(e.KeySize)
	}
	return c.json(http.StatusOK, o)
}

func nilIfZero(n int) any {
	if n == 0 {
		return nil
	}
	return n
}
