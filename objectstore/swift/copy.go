package swift

import (
	"errors"
	"maps"
	"net/http"

	"github.com/kintoun/kintoun/objectstore"
)

// copyObject copies the object of the path to where the header Destination says.
func (a *api) copyObject(q *request) error {
	if q.Header.Get("Destination") == "" {
		return refuse(http.StatusPreconditionFailed, "Destination header required")
	}
	container, object, err := pathHeader(q.Header, "Destination")
	if err != nil {
		return err
	}
	account, err := q.accountHeader("Destination-Account")
	if err != nil {
		return err
	}
	return a.copy(q, q.path, objectstore.Path{Account: account, Container: container, Object: object})
}

// copyFrom copies the object that the header X-Copy-From names to the path.
func (a *api) copyFrom(q *request) error {
	if q.ContentLength > 0 {
		return refuse(http.StatusBadRequest, "Copy requests require a zero byte body")
	}
	container, object, err := pathHeader(q.Header, "X-Copy-From")
	if err != nil {
		return err
	}
	account, err := q.accountHeader("X-Copy-From-Account")
	if err != nil {
		return err
	}
	return a.copy(q, objectstore.Path{Account: account, Container: container, Object: object}, q.path)
}

// copy makes a copy, with what the source and the request say of it.
func (a *api) copy(q *request, from, to objectstore.Path) error {
	if most := a.limits().MaxNameLength; len(to.Object) > most {
		return refuse(http.StatusBadRequest, "Object name length of %d longer than %d", len(to.Object), most)
	}
	info, err := a.objectInfo(q)
	if err != nil {
		return err
	}
	spec := q.openSpec()
	spec.Conditions = conditions(q.Header)
	source, err := a.store.Open(q.Context(), q.caller, from, spec)
	if err != nil {
		return err
	}
	merge(q, &info, source)
	var object *objectstore.Object
	if q.Header.Get("Range") != "" {
		object, err = a.copyRange(q, source, to, info)
	} else {
		object, err = a.store.Copy(q.Context(), q.caller, from, to, objectstore.CopySpec{
			Version: spec.Version, NullVersion: spec.NullVersion, NoFollow: spec.NoFollow, Manifest: spec.Manifest,
			Replace: true, ObjectInfo: info, SourceConditions: objectstore.Conditions{IfMatch: []string{source.ETag}},
		})
	}
	if err != nil {
		return err
	}
	a.copied(q, from, source, object)
	return q.created(object)
}

// merge adds to what the request says of a copy what the source says. With X-Fresh-Metadata that is only its type.
func merge(q *request, info *objectstore.ObjectInfo, source *objectstore.Reader) {
	o := source.Object
	if info.ContentType == "" {
		info.ContentType = source.ContentType
	}
	if manifest := q.query.Get("multipart-manifest") == "get"; manifest {
		info.Segments = o.Segments
		if info.SegmentPrefix == "" {
			info.SegmentPrefix = o.SegmentPrefix
		}
	}
	info.Link = o.Link
	if !source.Large {
		info.Checksums = o.Checksums
	}
	if truth(q.Header.Get("X-Fresh-Metadata")) {
		return
	}
	for _, m := range []struct {
		of   map[string]string
		with *map[string]string
	}{{o.Metadata, &info.Metadata}, {o.Headers, &info.Headers}} {
		merged := map[string]string{}
		maps.Copy(merged, m.of)
		maps.Copy(merged, *m.with)
		*m.with = merged
	}
	info.Tags = o.Tags
	if info.ExpiresAt.IsZero() {
		info.ExpiresAt = o.ExpiresAt
	}
}

// copyRange copies some bytes of the source.
func (a *api) copyRange(q *request, source *objectstore.Reader, to objectstore.Path, info objectstore.ObjectInfo) (*objectstore.Object, error) {
	spans, ok := parseRange(q.Header.Get("Range"), source.Size)
	switch {
	case !ok:
		spans = []span{{0, source.Size}}
	case len(spans) == 0:
		return nil, status(http.StatusRequestedRangeNotSatisfiable)
	case len(spans) > 1:
		return nil, refuse(http.StatusBadRequest, "a copy can have one range only")
	}
	info.Checksums = nil
	body, err := source.Range(q.Context(), spans[0].offset, spans[0].length)
	if err != nil {
		return nil, err
	}
	defer func() { _ = body.Close() }()
	return a.store.Put(q.Context(), q.caller, to, objectstore.PutSpec{ObjectInfo: info, Size: spans[0].length}, body)
}

// copied tells what a copy was made of.
func (a *api) copied(q *request, from objectstore.Path, source *objectstore.Reader, object *objectstore.Object) {
	h := q.w.Header()
	h.Set("X-Copied-From-Account", escapePath(reseller+from.Account))
	h.Set("X-Copied-From", escapePath(from.Container+"/"+from.Object))
	h.Set("X-Copied-From-Last-Modified", lastModified(source.Object.ChangedAt))
	if source.Object.Version != "" {
		h.Set("X-Copied-From-Version-Id", source.Object.Version)
	}
	setMetadata(h, "Object", object.Metadata)
}

// putVersion makes an older version the current one.
func (a *api) putVersion(q *request) error {
	if q.ContentLength != 0 {
		return refuse(http.StatusBadRequest, "PUT version-id requests require a zero byte body")
	}
	spec := q.openSpec()
	source, err := a.store.Open(q.Context(), q.caller, q.path, objectstore.OpenSpec{
		Version: spec.Version, NullVersion: spec.NullVersion, NoFollow: true, Manifest: true,
	})
	if errors.Is(err, objectstore.ErrNoVersion) {
		return refuse(http.StatusNotFound, "The specified version does not exist")
	}
	if err != nil {
		return err
	}
	object, err := a.store.Copy(q.Context(), q.caller, q.path, q.path, objectstore.CopySpec{
		Version: spec.Version, NullVersion: spec.NullVersion, NoFollow: true, Manifest: true,
		Replace: true, ObjectInfo: source.Object.ObjectInfo,
	})
	if err != nil {
		return err
	}
	return q.created(object)
}
