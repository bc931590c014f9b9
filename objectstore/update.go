package objectstore

import (
	"context"
	"maps"
	"reflect"
	"slices"
)

// Update lets change alter what is said of an object, without its content. What change returns is returned, and nothing is
// recorded. It may be called more than once. Version names a version ("null" is the one without), or is empty for the current
// one; a link is changed itself. What makes an object large or a link can not be changed so.
func (s *Service) Update(ctx context.Context, caller Caller, path Path, version string, change func(*ObjectInfo) error) (*Object, error) {
	if err := s.checkObject(path); err != nil {
		return nil, err
	}
	if err := s.paceObject(ctx, &caller, path, writeObject); err != nil {
		return nil, err
	}
	var result *Object
	err := s.write(ctx, func(t *txn) error {
		_, c, err := s.open(t, &caller, path, writeObject)
		if err != nil {
			return err
		}
		id, null := versionOf(version)
		row, err := s.version(t.Tx, c.ID, path.Object, id, null)
		if err != nil {
			return err
		}
		next := *row
		next.Metadata, next.Headers = maps.Clone(row.Metadata), maps.Clone(row.Headers)
		next.Tags, next.Checksums = maps.Clone(row.Tags), maps.Clone(row.Checksums)
		next.Segments = slices.Clone(row.Segments)
		if err := change(&next.ObjectInfo); err != nil {
			return err
		}
		next.Link, next.Segments = row.Link, row.Segments
		if err := s.checkInfo(&next.ObjectInfo); err != nil {
			return err
		}
		if !onlyTags(&row.ObjectInfo, &next.ObjectInfo) {
			next.ChangedAt = s.now()
		}
		t.wrote++
		table := s.versions
		if row.Current {
			table = s.objects
		}
		if err := table.Update(t.Tx, &next); err != nil {
			return err
		}
		result = next.object()
		return t.expires(&next)
	})
	return result, err
}

// versionOf takes S3's word for the version that was written without versioning.
func versionOf(version string) (id string, null bool) {
	if version == "null" {
		return "", true
	}
	return version, false
}

// onlyTags says whether tags changed and nothing else did.
func onlyTags(a, b *ObjectInfo) bool {
	x, y := *a, *b
	x.Tags, y.Tags = nil, nil
	return !maps.Equal(a.Tags, b.Tags) && reflect.DeepEqual(x, y)
}
