package objectstore

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// deletedType is the content type of what says in an archive that the object was deleted.
const deletedType = "application/x-deleted;swift_versions_deleted=1"

// archiveOf returns the container that old is to be moved to before another takes its place; nil if it is not. An archive that
// is not there is [ErrPrecondition].
func (t *txn) archiveOf(c *Container, old *objectRow) (*Container, error) {
	name := c.VersionsLocation + c.HistoryLocation
	if name == "" || old == nil {
		return nil, nil
	}
	archive, err := t.container(Path{Account: c.Account, Container: name})
	if errors.Is(err, ErrNoContainer) {
		return nil, fmt.Errorf("the container %.80q for older versions: %w: %w", name, ErrPrecondition, err)
	}
	return archive, err
}

// archivePrefix begins the names of an object's older versions in an archive: its length and its name, as Swift has it.
func archivePrefix(name string) string { return fmt.Sprintf("%03x%s/", len(name), name) }

func archiveName(name string, at time.Time) string {
	return archivePrefix(name) + fmt.Sprintf("%010d.%05d", at.Unix(), at.Nanosecond()/10_000)
}

// archive adds a version to an archive, under the time that it was written.
func (t *txn) archive(archive *Container, old *objectRow) error {
	return t.addArchived(archive, old, archiveName(old.Name, old.CreatedAt))
}

func (t *txn) addArchived(archive *Container, row *objectRow, name string) error {
	t.wrote++
	copied := *row
	copied.Container, copied.Name, copied.Current, copied.Version = archive.ID, name, true, ""
	there, err := t.current(archive.ID, name)
	if err != nil {
		return err
	}
	if there != nil {
		if err := t.count(archive, usage{objects: -1, bytes: -there.Size}); err != nil {
			return err
		}
	}
	if err := t.putCurrent(archive, &copied, there); err != nil || there == nil {
		return err
	}
	return t.release(there.Content, there.Composite)
}

// unarchive deletes what is current: with a stack of older versions the last of them comes back, with a history the deletion is
// noted there.
func (t *txn) unarchive(c *Container, old *objectRow) error {
	archive, err := t.archiveOf(c, old)
	if c.VersionsLocation != "" && errors.Is(err, ErrPrecondition) {
		return t.removeCurrent(c, old) // nothing can come back
	}
	if err != nil {
		return err
	}
	if c.HistoryLocation != "" {
		if err := t.archive(archive, old); err != nil {
			return err
		}
		now := t.s.now()
		marker := objectRow{Object: Object{ETag: emptyMD5, CreatedAt: now, ChangedAt: now, ObjectInfo: ObjectInfo{ContentType: deletedType}}}
		marker.Written = t.s.clock.next(now)
		if err := t.addArchived(archive, &marker, archiveName(old.Name, now)); err != nil {
			return err
		}
		return t.removeCurrent(c, old)
	}
	prefix := archivePrefix(old.Name)
	rows, err := t.s.objectRange(t.Tx, archive.ID, span{low: prefix, high: successor(prefix), reverse: true}, 1)
	if err != nil {
		return err
	}
	if len(rows) == 0 || strings.HasPrefix(rows[0].ContentType, deletedType) {
		return t.removeCurrent(c, old)
	}
	return t.restore(c, archive, old, &rows[0])
}

// restore moves the last archived version to where it was.
func (t *txn) restore(c, archive *Container, old, last *objectRow) error {
	t.wrote++
	row := *last
	row.Container, row.Name = c.ID, old.Name
	if err := t.count(c, usage{objects: -1, bytes: -old.Size}); err != nil {
		return err
	}
	if err := t.putCurrent(c, &row, old); err != nil {
		return err
	}
	if err := t.removeCurrent(archive, last); err != nil {
		return err
	}
	return t.release(old.Content, old.Composite)
}
