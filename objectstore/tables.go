package objectstore

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/internal/record"
)

// objectRow is a version of an object as it is recorded. What is read without naming a version is in the table of objects,
// whose keys are in the order of lists: one look-up finds it, and a page of a list is a piece of the table. Everything else,
// delete markers among it, is in the table of versions.
type objectRow struct {
	Object
	// Content is where the bytes are: a reference, or the upload whose parts they are if Composite; empty for none.
	Content   string `json:",omitzero"`
	Composite bool   `json:",omitzero"`
	// Written orders the versions of a name, in nanoseconds.
	Written int64
	// Stored is the record's revision.
	Stored int64 `json:"-"`
}

// object is the row as callers see it.
func (r *objectRow) object() *Object {
	o := r.Object
	o.Revision = r.Stored
	return &o
}

func (r *objectRow) key() string { return objectKey(r.Container, r.Name) }

// Containers are identified by account and name, which has no slash, and objects by container and name: identifiers sort as
// names do. What follows the slash in the order of bytes is '0': it ends the names of a container.
func containerID(account, name string) string   { return account + "/" + name }
func objectKey(container, name string) string   { return container + "/" + name }
func behindAll(container string) string         { return container + "0" }
func partKey(upload string, number int) string  { return fmt.Sprintf("%s/%05d", upload, number) }
func expiryKey(at time.Time, key string) string { return fmt.Sprintf("%020d/%s", at.UnixNano(), key) }

// rank sorts newer versions first.
func rank(written int64) string { return fmt.Sprintf("%016x", ^uint64(written)) }

func versionKey(container, name string, written int64) string {
	return container + "/" + name + "/" + rank(written)
}

// versionID names a version by the time that orders it, so that a name and a version are one look-up.
func versionID(written int64) string { return fmt.Sprintf("%016x%s", uint64(written), randomHex(4)) }

func versionWritten(version string) (int64, bool) {
	if len(version) != 24 {
		return 0, false
	}
	n, err := strconv.ParseInt(version[:16], 16, 64)
	return n, err == nil
}

// pathOf is the path that a key names.
func pathOf(key string) Path {
	account, rest, _ := strings.Cut(key, "/")
	container, object, _ := strings.Cut(rest, "/")
	return Path{Account: account, Container: container, Object: object}
}

var accountTable = record.Spec[Account]{
	Key:      func(a *Account) string { return a.ID },
	Revision: func(a *Account) *int64 { return &a.Revision },
	Event:    func(a *Account) record.Event { return record.Event{Type: "account", Project: a.ID} },
}

var containerTable = record.Spec[Container]{
	Key:      func(c *Container) string { return c.ID },
	Revision: func(c *Container) *int64 { return &c.Revision },
	Event: func(c *Container) record.Event {
		return record.Event{Type: "container", Project: c.Account, ID: c.Name}
	},
	// lifecycle marks those that have rules.
	Columns: []record.Column[Container]{{Name: "lifecycle", Value: func(c *Container) any {
		if len(c.Lifecycle) == 0 {
			return nil
		}
		return true
	}}},
}

// content is by what one finds out whether a content is used.
func content(r *objectRow) any {
	if r.Content == "" {
		return nil
	}
	return r.Content
}

var objectTable = record.Spec[objectRow]{
	Key:      (*objectRow).key,
	Revision: func(r *objectRow) *int64 { return &r.Stored },
	Event: func(r *objectRow) record.Event {
		path := pathOf(r.key())
		return record.Event{Type: "object", Project: path.Account, ID: path.Container + "/" + path.Object}
	},
	Columns: []record.Column[objectRow]{{Name: "content", Value: content}},
}

var versionTable = record.Spec[objectRow]{
	Key:      func(r *objectRow) string { return versionKey(r.Container, r.Name, r.Written) },
	Revision: func(r *objectRow) *int64 { return &r.Stored },
	Quiet:    true,
	Columns: []record.Column[objectRow]{
		{Name: "content", Value: content},
		{Name: "container", Value: func(r *objectRow) any { return r.Container }},
		{Name: "name", Value: func(r *objectRow) any { return r.Name }},
		{Name: "written", Value: func(r *objectRow) any { return rank(r.Written) }},
		{Name: "version", Value: func(r *objectRow) any { return r.Version }},
	},
	Unindexed: []string{"container", "name", "written", "version"},
	Indexes:   [][]string{{"container", "name", "written"}},
}

var uploadTable = record.Spec[Upload]{
	Key:      func(u *Upload) string { return u.ID },
	Revision: func(u *Upload) *int64 { return &u.Revision },
	Quiet:    true,
	Columns: []record.Column[Upload]{
		{Name: "container", Value: func(u *Upload) any { return u.Container }},
		{Name: "name", Value: func(u *Upload) any { return u.Name }},
	},
	Unindexed: []string{"container", "name"},
	Indexes:   [][]string{{"container", "name", "id"}},
}

// partRow is a part of an upload, and then of the object that came of it.
type partRow struct {
	Upload string
	UploadPart
	Content  string `json:",omitzero"`
	Revision int64  `json:"-"`
}

var partTable = record.Spec[partRow]{
	Key:      func(p *partRow) string { return partKey(p.Upload, p.Number) },
	Revision: func(p *partRow) *int64 { return &p.Revision },
	Quiet:    true,
	Columns: []record.Column[partRow]{{Name: "content", Value: func(p *partRow) any {
		if p.Content == "" {
			return nil
		}
		return p.Content
	}}},
}

// expiry is when to look whether an object has expired.
type expiry struct {
	At       time.Time
	Object   string // its key
	Revision int64  `json:"-"`
}

var expiryTable = record.Spec[expiry]{
	Key:      func(e *expiry) string { return expiryKey(e.At, e.Object) },
	Revision: func(e *expiry) *int64 { return &e.Revision },
	Quiet:    true,
}

// garbage is a content that nothing has any more.
type garbage struct {
	Content   string
	Composite bool `json:",omitzero"`
	At        time.Time
	Revision  int64 `json:"-"`
}

var garbageTable = record.Spec[garbage]{
	Key:      func(g *garbage) string { return g.Content },
	Revision: func(g *garbage) *int64 { return &g.Revision },
	Quiet:    true,
}
