package swift

import (
	"errors"
	"net/http"

	"github.com/kintoun/kintoun/objectstore"
)

// deleteObject deletes an object, or a version of it, or with multipart-manifest=delete a large object with its segments.
func (a *api) deleteObject(q *request) error {
	if q.query.Has("bulk-delete") {
		return a.bulkDelete(q)
	}
	named := q.openSpec()
	spec := objectstore.DeleteSpec{Version: named.Version, NullVersion: named.NullVersion, Conditions: writeConditions(q.Header)}
	if q.query.Get("multipart-manifest") == "delete" {
		return a.deleteLarge(q, spec)
	}
	deleted, err := a.store.Delete(q.Context(), q.caller, q.path, spec)
	if err != nil {
		return err
	}
	h := q.w.Header()
	if deleted.Version != "" {
		h.Set("X-Object-Version-Id", deleted.Version)
	}
	if q.query.Has("version-id") {
		a.currentVersion(q)
	} else if !deleted.Existed {
		return status(http.StatusNotFound)
	}
	return q.empty(http.StatusNoContent)
}

// currentVersion tells which version is current after another was deleted.
func (a *api) currentVersion(q *request) {
	h := q.w.Header()
	h.Set("X-Object-Version-Id", q.query.Get("version-id"))
	h.Set("X-Object-Current-Version-Id", "null")
	if now, err := a.store.Open(q.Context(), q.caller, q.path, objectstore.OpenSpec{NoFollow: true, Manifest: true}); err == nil {
		h.Set("X-Object-Current-Version-Id", versionID(now.Object))
	}
}

// deleteLarge deletes a static large object with its segments, and reports as a deletion in bulk does.
func (a *api) deleteLarge(q *request, spec objectstore.DeleteSpec) error {
	kind, err := accepted(q.Header.Get("Accept"), reportTypes()...)
	if err != nil {
		return err
	}
	r := newReport(kind, "delete", http.StatusOK)
	r.numbers = map[string]int{"Number Deleted": 0, "Number Not Found": 0}
	reader, err := a.store.Open(q.Context(), q.caller, q.path, objectstore.OpenSpec{
		Version: spec.Version, NullVersion: spec.NullVersion, NoFollow: true, Manifest: true,
	})
	name := "/" + q.path.Container + "/" + q.path.Object
	switch {
	case errors.Is(err, objectstore.ErrUnauthorized), errors.Is(err, objectstore.ErrForbidden):
		return err
	case errors.Is(err, objectstore.ErrNotFound):
		r.numbers["Number Not Found"] = 1
	case err != nil:
		r.failed(name, translate(err, q.known).status)
	case len(reader.Object.Segments) == 0 && reader.Object.PartCount < 2:
		r.errors = append(r.errors, [2]string{escapePath(name), "Not an SLO manifest"})
		r.code = http.StatusBadRequest
	default:
		spec.Segments = len(reader.Object.Segments) > 0
		deleted, err := a.store.Delete(q.Context(), q.caller, q.path, spec)
		if err != nil {
			r.failed(name, translate(err, q.known).status)
			break
		}
		r.numbers["Number Deleted"], r.numbers["Number Not Found"] = deleted.Count, deleted.Missing
	}
	if truth(q.query.Get("async")) && len(r.errors) == 0 {
		return q.empty(http.StatusNoContent)
	}
	q.w.Header().Set("Content-Type", kind)
	return q.body(http.StatusOK, r.render())
}
