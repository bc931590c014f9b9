package objectstore

import (
	"errors"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// place makes row the current version of its name, in place of old, which is what is current now or nil.
func (t *txn) place(c *Container, row, old *objectRow) error {
	archive, err := t.archiveOf(c, old)
	if err != nil {
		return err
	}
	t.wrote++
	now := t.s.now()
	row.Container, row.Current, row.DeleteMarker, row.Version = c.ID, true, false, ""
	row.CreatedAt, row.ChangedAt = now, now
	if row.Written, err = t.later(c, row.Name, old); err != nil {
		return err
	}
	if c.Versioning == VersioningEnabled {
		row.Version = versionID(row.Written)
	}
	if archive != nil {
		if err := t.archive(archive, old); err != nil {
			return err
		}
	}
	dropped, err := t.retire(c, row.Name, old)
	if err != nil {
		return err
	}
	if err := t.putCurrent(c, row, old); err != nil || !dropped {
		return err
	}
	return t.release(old.Content, old.Composite)
}

// later is the time that orders a new version of the name: it is behind all there are, whatever clocks say.
func (t *txn) later(c *Container, name string, old *objectRow) (int64, error) {
	written := t.s.clock.next(t.s.now())
	if old == nil && c.Versioning != "" {
		newest, err := t.newest(c.ID, name)
		if err != nil {
			return 0, err
		}
		old = newest
	}
	if old != nil {
		written = max(written, old.Written+1)
	}
	return written, nil
}

// newest returns the newest of the versions that are not current; nil if there is none.
func (t *txn) newest(container, name string) (*objectRow, error) {
	rows, err := t.s.versions.List(t.Tx, record.Query{
		Where: []record.Condition{record.Eq("container", container), record.Eq("name", name)},
		Order: []record.Order{{Column: "written"}}, Limit: 1,
	})
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}

// retire makes room for another current version: the one before becomes an older version, or is dropped where it has no
// version. The caller replaces or deletes its record, and then releases what was dropped.
func (t *txn) retire(c *Container, name string, old *objectRow) (dropped bool, err error) {
	if c.Versioning == VersioningSuspended {
		if err := t.dropNull(c, name); err != nil {
			return false, err
		}
	}
	if old == nil {
		return false, nil
	}
	if c.Versioning == VersioningEnabled || c.Versioning == VersioningSuspended && old.Version != "" {
		older := *old
		older.Current = false
		if err := t.s.versions.Insert(t.Tx, &older); err != nil {
			return false, err
		}
		return false, t.count(c, usage{objects: -1, bytes: -old.Size, versionBytes: old.Size})
	}
	return true, t.count(c, usage{objects: -1, bytes: -old.Size})
}

// dropNull drops the older version that was written without versioning.
func (t *txn) dropNull(c *Container, name string) error {
	rows, err := t.s.versions.List(t.Tx, record.Query{
		Where: []record.Condition{record.Eq("container", c.ID), record.Eq("name", name), record.Eq("version", "")}, Limit: 1,
	})
	if err != nil || len(rows) == 0 {
		return err
	}
	return t.removeVersion(c, &rows[0])
}

// putCurrent records and counts what is current from now on.
func (t *txn) putCurrent(c *Container, row, old *objectRow) error {
	save := t.s.objects.Insert
	if old != nil {
		row.Stored, save = old.Stored, t.s.objects.Update
	}
	if err := save(t.Tx, row); err != nil {
		return err
	}
	if err := t.expires(row); err != nil {
		return err
	}
	return t.count(c, usage{objects: 1, bytes: row.Size})
}

// expires notes when to look at an object again.
func (t *txn) expires(row *objectRow) error {
	if row.ExpiresAt.IsZero() {
		return nil
	}
	err := t.s.expiries.Insert(t.Tx, &expiry{At: row.ExpiresAt, Object: row.key()})
	if !errors.Is(err, record.ErrDuplicate) {
		return err
	}
	return nil
}

// removeCurrent drops what is current, and leaves its name to nothing.
func (t *txn) removeCurrent(c *Container, row *objectRow) error {
	t.wrote++
	if err := t.s.objects.Delete(t.Tx, row.key()); err != nil {
		return err
	}
	if err := t.count(c, usage{objects: -1, bytes: -row.Size}); err != nil {
		return err
	}
	return t.release(row.Content, row.Composite)
}

// removeVersion drops an older version, or a delete marker.
func (t *txn) removeVersion(c *Container, row *objectRow) error {
	t.wrote++
	if err := t.s.versions.Delete(t.Tx, versionKey(row.Container, row.Name, row.Written)); err != nil {
		return err
	}
	if err := t.count(c, usage{versionBytes: -row.Size}); err != nil {
		return err
	}
	return t.release(row.Content, row.Composite)
}

// release turns a content that a record had into garbage, if nothing else has it.
func (t *txn) release(content string, composite bool) error {
	if content == "" {
		return nil
	}
	has := record.Eq("content", content)
	for _, count := range []func(*record.Tx, ...record.Condition) (int, error){t.s.objects.Count, t.s.versions.Count, t.s.parts.Count} {
		if n, err := count(t.Tx, has); err != nil || n > 0 {
			return err
		}
	}
	return t.throwAway(content, composite)
}

func (t *txn) throwAway(content string, composite bool) error {
	t.wrote++
	t.s.untidy.Store(true)
	return t.s.garbage.Insert(t.Tx, &garbage{Content: content, Composite: composite, At: t.s.now().Truncate(time.Millisecond)})
}
