package volume

import (
	"context"
	"maps"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/record"
)

// SetVolumeMetadata adds to a volume's metadata, or replaces it, and returns all of it.
func (s *Service) SetVolumeMetadata(ctx context.Context, scope Scope, id string, metadata map[string]string, replace bool) (map[string]string, error) {
	if err := checkMetadata(metadata); err != nil {
		return nil, err
	}
	v, err := s.changeVolume(ctx, scope, id, func(_ *record.Tx, v *Volume) error {
		if v.Status == Maintenance || v.Status == Uploading {
			return invalidVolume("Updating volume metadata is not allowed for volumes in %s status.", v.Status)
		}
		v.Metadata = merged(v.Metadata, metadata, replace)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v.Metadata, nil
}

// merged never changes old.
func merged(old, metadata map[string]string, replace bool) map[string]string {
	all := map[string]string{}
	if !replace {
		maps.Copy(all, old)
	}
	maps.Copy(all, metadata)
	return all
}

// DeleteVolumeMetadata removes a key.
func (s *Service) DeleteVolumeMetadata(ctx context.Context, scope Scope, id, key string) error {
	_, err := s.changeVolume(ctx, scope, id, func(_ *record.Tx, v *Volume) error {
		if v.Status == Maintenance || v.Status == Uploading {
			return invalidVolume("Deleting volume metadata is not allowed for volumes in %s status.", v.Status)
		}
		if _, ok := v.Metadata[key]; !ok {
			return fault.Wrap(ErrNotFound, "Volume %s has no metadata with key %s.", id, key)
		}
		delete(v.Metadata, key)
		return nil
	})
	return err
}

// SetVolumeImageMetadata adds to what is known of the image that a volume was made from, and returns all of it.
func (s *Service) SetVolumeImageMetadata(ctx context.Context, scope Scope, id string, metadata map[string]string) (map[string]string, error) {
	if err := checkMetadata(metadata); err != nil {
		return nil, err
	}
	v, err := s.changeVolume(ctx, scope, id, func(_ *record.Tx, v *Volume) error {
		v.ImageMetadata = merged(v.ImageMetadata, metadata, false)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return v.ImageMetadata, nil
}

// DeleteVolumeImageMetadata removes a key.
func (s *Service) DeleteVolumeImageMetadata(ctx context.Context, scope Scope, id, key string) error {
	_, err := s.changeVolume(ctx, scope, id, func(_ *record.Tx, v *Volume) error {
		if _, ok := v.ImageMetadata[key]; !ok {
			return fault.Wrap(ErrNotFound, "Metadata item was not found.")
		}
		delete(v.ImageMetadata, key)
		return nil
	})
	return err
}
