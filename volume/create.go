package volume

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// plan is a volume on its way into the database.
type plan struct {
	spec    VolumeSpec
	image   *Image
	volType *Type
	// snapshot and source are what it is made from.
	snapshot *Snapshot
	source   *Volume
	// host is the pool that it has to be in; empty is any.
	host  string
	keyID string
}

// CreateVolume makes a volume: it is returned as it is being made, by the agent of the pool that was found for it. Where no
// pool can take it, its status is error, and a [Message] says why.
func (s *Service) CreateVolume(ctx context.Context, scope Scope, spec VolumeSpec) (v *Volume, err error) {
	p := &plan{spec: spec}
	if err := checkSpec(&spec); err != nil {
		return nil, err
	}
	if spec.ImageID != "" {
		if p.image, err = s.usableImage(ctx, scope, &spec); err != nil {
			return nil, err
		}
	}
	if err := s.prepare(s.store.Read(ctx), scope, p); err != nil {
		return nil, err
	}
	if p.keyID, err = s.keyFor(ctx, scope, p); err != nil {
		return nil, err
	}
	err = s.store.Update(ctx, func(tx *record.Tx) error {
		again := &plan{spec: spec, image: p.image, keyID: p.keyID}
		if err := s.prepare(tx, scope, again); err != nil {
			return err
		}
		v, err = s.insert(tx, scope, again)
		return err
	})
	if err != nil {
		return nil, errors.Join(err, s.dropKey(context.WithoutCancel(ctx), p.keyID))
	}
	return v, s.fill(s.store.Read(ctx), v)
}

// keyFor makes the key of an encrypted volume: that of what it is made from, or a new one.
func (s *Service) keyFor(ctx context.Context, scope Scope, p *plan) (string, error) {
	switch {
	case p.source != nil && p.source.EncryptionKeyID != "":
		return s.cloneKey(ctx, scope.ProjectID, p.source.EncryptionKeyID)
	case p.snapshot != nil && p.snapshot.EncryptionKeyID != "":
		return s.cloneKey(ctx, scope.ProjectID, p.snapshot.EncryptionKeyID)
	case p.volType == nil || p.volType.Encryption == nil:
		return "", nil
	}
	return s.newKey(ctx, scope.ProjectID, p.volType)
}

func checkSpec(spec *VolumeSpec) error {
	sources := 0
	for _, id := range []string{spec.SnapshotID, spec.SourceVolumeID, spec.ImageID, spec.BackupID} {
		if id != "" {
			sources++
		}
	}
	switch {
	case sources > 1:
		return fault.Wrap(ErrInvalid, "Invalid input received: May specify only one of snapshot, source volume, image or backup!")
	case spec.SizeGiB < 0, spec.SizeGiB == 0 && spec.SnapshotID == "" && spec.SourceVolumeID == "" && spec.BackupID == "":
		return fault.Wrap(ErrInvalid, "Invalid input received: Volume size '%d' must be an integer and greater than 0", spec.SizeGiB)
	case spec.SizeGiB > maxGiB:
		return fault.Wrap(ErrInvalid, "Invalid input received: Volume size '%d' is larger than any volume can be", spec.SizeGiB)
	}
	if spec.ID != "" {
		id, err := uuid.Parse(spec.ID)
		if err != nil || id.String() != spec.ID {
			return fault.Wrap(ErrInvalid, "Expected a uuid but received %s.", spec.ID)
		}
	}
	if err := checkTexts(spec.Name, spec.Description); err != nil {
		return err
	}
	return checkMetadata(spec.Metadata)
}

// maxGiB is a bound of numbers, not of what is sensible: bytes fit in 63 bits.
const maxGiB = 1 << 32

func checkTexts(texts ...string) error {
	for _, text := range texts {
		if len(text) > maxText {
			return fault.Wrap(ErrInvalid, "Invalid input received: a name or description has %d bytes, more than %d.", len(text), maxText)
		}
	}
	return nil
}

func checkMetadata(metadata map[string]string) error {
	for key, value := range metadata {
		switch {
		case key == "":
			return fault.Wrap(ErrInvalid, "Invalid metadata: Metadata property key blank.")
		case len(key) > maxText:
			return fault.Wrap(ErrInvalid, "Invalid metadata size: Metadata property key %.40s… greater than 255 characters.", key)
		case len(value) > maxText:
			return fault.Wrap(ErrInvalid, "Invalid metadata size: Metadata property key %s value greater than 255 characters.", key)
		}
	}
	return nil
}

// usableImage returns the image that a volume is to be made from, if it is active and fits.
func (s *Service) usableImage(ctx context.Context, scope Scope, spec *VolumeSpec) (*Image, error) {
	if s.options.Images == nil {
		return nil, fault.Wrap(ErrUnsupported, "Volumes are not made from images here.")
	}
	image, err := s.options.Images.Image(ctx, scope, spec.ImageID)
	if err != nil {
		if errors.Is(err, ErrNotFound) {
			return nil, fault.Wrap(ErrInvalid, "Invalid image identifier or unable to access requested image.")
		}
		return nil, err
	}
	switch {
	case image.Status != "active":
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Image %s is not active.", image.ID)
	case spec.SizeGiB < ceilGiB(max(image.Size, image.VirtualBytes)):
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Size of specified image %dGB is larger than volume size %dGB.",
			ceilGiB(max(image.Size, image.VirtualBytes)), spec.SizeGiB)
	case spec.SizeGiB < image.MinDiskGiB:
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Volume size %dGB cannot be smaller than the image minDisk size %dGB.", spec.SizeGiB, image.MinDiskGiB)
	}
	return &image, nil
}

func ceilGiB(bytes int64) int { return int((bytes + gib - 1) / gib) }

// prepare looks up what the plan names, and fills in what it leaves open.
func (s *Service) prepare(tx *record.Tx, scope Scope, p *plan) error {
	if err := s.findSource(tx, scope, p); err != nil {
		return err
	}
	if err := s.findType(tx, scope, p); err != nil {
		return err
	}
	if p.source != nil {
		if p.spec.Zone != "" && p.spec.Zone != p.source.Zone {
			return fault.Wrap(ErrInvalid, "Invalid input received: Volume must be in the same availability zone as the source: %s", p.source.Zone)
		}
		p.spec.Zone = p.source.Zone
	}
	if err := s.checkZone(tx, p.spec.Zone); err != nil {
		return err
	}
	if p.host != "" {
		return s.checkThawed(tx, p.host)
	}
	return nil
}

// findSource looks up the snapshot or volume that the new one is made from. It has to be in the same pool.
func (s *Service) findSource(tx *record.Tx, scope Scope, p *plan) (err error) {
	var size int
	var what string
	switch {
	case p.spec.SnapshotID != "":
		if p.snapshot, err = s.visibleSnapshot(tx, scope, p.spec.SnapshotID); err != nil {
			return err
		}
		if p.snapshot.Status != Available {
			return fault.Wrap(ErrInvalid, "Invalid snapshot: Originating snapshot status must be one of 'available' values")
		}
		if p.source, err = s.volumes.Get(tx, p.snapshot.VolumeID); err != nil {
			return notFound(err, "Volume %s could not be found.", p.snapshot.VolumeID)
		}
		size, what = p.snapshot.SizeGiB, "snapshot size"
	case p.spec.SourceVolumeID != "":
		if p.source, err = s.visibleVolume(tx, scope, p.spec.SourceVolumeID); err != nil {
			return err
		}
		if !slices.Contains([]Status{Available, InUse}, p.source.Status) {
			return fault.Wrap(ErrInvalid, "Invalid volume: Originating volume status must be one of 'available, in-use' values")
		}
		size, what = p.source.SizeGiB, "original volume size"
	default:
		return nil
	}
	if p.host = p.source.Host; p.snapshot != nil {
		p.host = p.snapshot.Host
	}
	if p.spec.SizeGiB == 0 {
		p.spec.SizeGiB = size
	}
	if p.spec.SizeGiB < size {
		return fault.Wrap(ErrInvalid, "Invalid input received: Volume size '%d'GB cannot be smaller than %s %dGB. They must be >= %s.", p.spec.SizeGiB, what, size, what)
	}
	return nil
}

func (s *Service) findType(tx *record.Tx, scope Scope, p *plan) (err error) {
	switch {
	case p.spec.Type != "":
		p.volType, err = s.visibleType(tx, scope, p.spec.Type)
	case p.source != nil && p.source.TypeID != "":
		p.volType, err = s.types.Get(tx, p.source.TypeID)
	default:
		p.volType, err = s.defaultType(tx, scope)
	}
	if err != nil || p.source == nil || p.volType.ID == p.source.TypeID {
		return err
	}
	kept, err := s.pools.Get(tx, p.host)
	if err != nil {
		return notFoundIsNil(err)
	}
	if p.source.Encrypted != (p.volType.Encryption != nil) || !matches(p.volType.Specs, kept) {
		advice := "either match source volume, or omit type argument"
		if p.snapshot != nil {
			advice = "recommend omitting the type argument"
		}
		return fault.Wrap(ErrInvalid, "Invalid input received: Invalid volume_type provided: %s (requested type is not compatible; %s).", p.volType.ID, advice)
	}
	return nil
}

// insert checks quotas, finds a pool and records the volume.
func (s *Service) insert(tx *record.Tx, scope Scope, p *plan) (*Volume, error) {
	if err := s.checkSize(tx, scope.ProjectID, p.spec.SizeGiB); err != nil {
		return nil, err
	}
	if err := s.reserve(tx, scope.ProjectID, p.volType.Name, map[string]int{"volumes": 1, "gigabytes": p.spec.SizeGiB}); err != nil {
		return nil, err
	}
	if p.spec.GroupID != "" {
		group, err := s.groupForVolume(tx, scope, p.spec.GroupID, p.volType.ID)
		if err != nil {
			return nil, err
		}
		p.host = group.Host
	}
	v := s.fromPlan(scope, p)
	if v.Multiattach && v.Encrypted {
		return nil, fault.Wrap(ErrInvalid, "Invalid input received: Multi-attach cannot be used with encrypted volumes.")
	}
	want := v.wanted(p.volType)
	want.only = p.host
	where, err := s.place(tx, want)
	if err != nil {
		return nil, err
	}
	if where == nil {
		v.Status, v.Task = Errored, Task{}
		if v.Zone == "" {
			v.Zone = DefaultZone
		}
		if err := s.message(tx, v.ProjectID, scope.RequestID, aboutVolume, v.ID, actionSchedule, detailNoBackend); err != nil {
			return nil, err
		}
		return v, s.inserted(v.ID, s.volumes.Insert(tx, v))
	}
	v.Host, v.Zone = where.Name, where.Zone
	if err := s.inserted(v.ID, s.volumes.Insert(tx, v)); err != nil {
		return nil, err
	}
	if v.BackupID != "" {
		return v, s.restoreInto(tx, scope, v, v.BackupID)
	}
	return v, nil
}

func (s *Service) inserted(id string, err error) error {
	if errors.Is(err, record.ErrDuplicate) {
		return fault.Wrap(ErrConflict, "Volume %s exists already.", id)
	}
	return err
}

// fromPlan is the record of a planned volume.
func (s *Service) fromPlan(scope Scope, p *plan) *Volume {
	t := s.now()
	v := &Volume{
		ID: p.spec.ID, ProjectID: scope.ProjectID, UserID: scope.UserID, Name: p.spec.Name, Description: p.spec.Description,
		SizeGiB: p.spec.SizeGiB, Status: Creating, AttachStatus: Detached, Zone: p.spec.Zone, TypeID: p.volType.ID,
		SnapshotID: p.spec.SnapshotID, SourceVolumeID: p.spec.SourceVolumeID, ImageID: p.spec.ImageID, BackupID: p.spec.BackupID,
		GroupID: p.spec.GroupID, Hints: p.spec.Hints, Metadata: maps.Clone(p.spec.Metadata), AdminMetadata: map[string]string{},
		Multiattach: p.spec.Multiattach || p.volType.asks("multiattach"), EncryptionKeyID: p.keyID,
		Encrypted: p.volType.Encryption != nil || p.keyID != "",
		Task:      Task{Kind: TaskCreate, RequestID: scope.RequestID}, CreatedAt: t, UpdatedAt: t,
	}
	if v.ID == "" {
		v.ID = uuid.NewString()
	}
	switch {
	case p.image != nil:
		v.Bootable, v.ImageMetadata = true, imageMetadata(p.image)
	case p.source != nil:
		v.Bootable, v.ImageMetadata = p.source.Bootable, maps.Clone(p.source.ImageMetadata)
	}
	return v
}

// imageMetadata is what is remembered of an image, by Glance's names.
func imageMetadata(image *Image) map[string]string {
	all := maps.Clone(image.Properties)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, map[string]string{
		"image_id": image.ID, "image_name": image.Name, "checksum": image.Checksum, "container_format": image.ContainerFormat,
		"disk_format": image.DiskFormat, "min_disk": strconv.Itoa(image.MinDiskGiB), "min_ram": strconv.Itoa(image.MinRAMMiB),
		"size": strconv.FormatInt(image.Size, 10),
	})
	maps.DeleteFunc(all, func(key, _ string) bool { return strings.HasPrefix(key, "os_glance") })
	return all
}
