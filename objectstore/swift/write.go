package swift

import (
	"context"
	"errors"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// putObject uploads an object, or makes a copy, a link or a manifest.
func (a *api) putObject(q *request) error {
	switch {
	case q.query.Has("extract-archive"):
		return a.extract(q)
	case q.Header.Get("X-Copy-From") != "":
		if q.query.Get("multipart-manifest") == "put" {
			return refuse(http.StatusMethodNotAllowed, "Multipart Manifest PUTs cannot be COPY requests")
		}
		return a.copyFrom(q)
	case q.query.Get("version-id") != "":
		return a.putVersion(q)
	}
	if q.ProtoMajor == 1 && q.ContentLength == 0 && q.Header.Get("Content-Length") == "" {
		return refuse(http.StatusLengthRequired, "Missing Content-Length header.")
	}
	if q.query.Get("multipart-manifest") == "put" {
		return a.putManifest(q)
	}
	spec, err := a.putSpec(q)
	if err != nil {
		return err
	}
	if q.Header.Get("X-Symlink-Target") != "" {
		if spec.Link, err = a.link(q); err != nil {
			return err
		}
		if spec.ContentType == "" || q.Header.Get("Content-Type") == "" {
			spec.ContentType = "application/symlink"
			if spec.Link.ContentType != "" {
				spec.ContentType = spec.Link.ContentType
			}
		}
	}
	object, err := a.put(q, q.caller, q.path, spec)
	if err != nil {
		return err
	}
	return q.created(object)
}

// put uploads the request's body. A body that was cut says so rather than what became of it.
func (a *api) put(q *request, caller objectstore.Caller, to objectstore.Path, spec objectstore.PutSpec) (*objectstore.Object, error) {
	object, err := a.store.Put(q.Context(), caller, to, spec, q.reads)
	if err != nil && q.reads.err != nil && errors.Is(err, q.reads.err) {
		return nil, errors.Join(objectstore.ErrIncomplete, err)
	}
	if err != nil && q.Context().Err() != nil {
		return nil, context.Canceled
	}
	return object, err
}

// created answers a write.
func (q *request) created(o *objectstore.Object) error {
	h := q.w.Header()
	tag := o.ETag
	if len(o.Segments) > 0 {
		tag = `"` + o.EntityTag() + `"`
	}
	h.Set("Etag", tag)
	h.Set("Last-Modified", lastModified(o.CreatedAt))
	if o.Version != "" {
		h.Set("X-Object-Version-Id", o.Version)
	}
	return q.empty(http.StatusCreated)
}

// putSpec is what the headers say of an upload.
func (a *api) putSpec(q *request) (objectstore.PutSpec, error) {
	var spec objectstore.PutSpec
	limits := a.limits()
	if len(q.path.Object) > limits.MaxNameLength {
		return spec, refuse(http.StatusBadRequest, "Object name length of %d longer than %d", len(q.path.Object), limits.MaxNameLength)
	}
	if _, given := q.Header["X-Static-Large-Object"]; given {
		return spec, refuse(http.StatusBadRequest, "X-Static-Large-Object is a reserved header. "+
			"To create a static large object add query param multipart-manifest=put.")
	}
	if q.ContentLength > limits.MaxObjectSize {
		return spec, refuse(http.StatusRequestEntityTooLarge, "Your request is too large.")
	}
	spec.Conditions = writeConditions(q.Header)
	for _, tag := range spec.Conditions.IfNoneMatch {
		if tag != "*" {
			return spec, refuse(http.StatusBadRequest, "If-None-Match only supports *")
		}
	}
	spec.Size = q.ContentLength
	spec.ETag = strings.ToLower(bareETag(q.Header.Get("Etag")))
	var err error
	spec.ObjectInfo, err = a.objectInfo(q)
	if spec.ContentType == "" || truth(q.Header.Get("X-Detect-Content-Type")) {
		spec.ContentType = guessType(q.path.Object)
	}
	return spec, err
}

// guessType is the media type that the ending of a name stands for.
func guessType(name string) string {
	kind, _, _ := strings.Cut(mime.TypeByExtension(path.Ext(name)), ";")
	if kind == "" {
		return "application/octet-stream"
	}
	return kind
}

// keptHeaders are those that an object gives back as it got them.
func keptHeaders() []string {
	return []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires", "X-Robots-Tag"}
}

// objectInfo is what the request's headers say of an object.
func (a *api) objectInfo(q *request) (objectstore.ObjectInfo, error) {
	info := objectstore.ObjectInfo{
		ContentType: q.Header.Get("Content-Type"), Metadata: objectMetadata(q.Header), Headers: map[string]string{},
	}
	if err := checkMetadata(info.Metadata, "Object", a.limits()); err != nil {
		return info, err
	}
	for _, name := range keptHeaders() {
		if v := q.Header.Get(name); v != "" {
			info.Headers[name] = v
		}
	}
	var err error
	if info.ExpiresAt, _, err = expiry(q.Header, a.options.Now()); err != nil {
		return info, err
	}
	info.SegmentPrefix, err = segmentPrefix(q.Header.Get("X-Object-Manifest"))
	return info, err
}

// segmentPrefix reads a header X-Object-Manifest, which names the segments of a dynamic large object.
func segmentPrefix(text string) (string, error) {
	if text == "" {
		return "", nil
	}
	container, prefix, _ := strings.Cut(text, "/")
	if container == "" || prefix == "" || prefix[0] == '/' || strings.ContainsAny(text, "?&") {
		return "", refuse(http.StatusBadRequest, "X-Object-Manifest must be in the format container/prefix")
	}
	return unescape(text), nil
}

// postObject changes what is said of an object: all that was said is replaced, but for its type.
func (a *api) postObject(q *request) error {
	switch {
	case isForm(q):
		return a.formPost(q)
	case q.query.Has("bulk-delete"):
		return a.bulkDelete(q)
	case q.query.Get("version-id") != "":
		return refuse(http.StatusBadRequest, "POST to a specific version is not allowed")
	case q.Header.Get("X-Symlink-Target") != "":
		return refuse(http.StatusBadRequest, "A PUT request is required to set a symlink target")
	}
	info, err := a.objectInfo(q)
	if err != nil {
		return err
	}
	object, err := a.store.Update(q.Context(), q.caller, q.path, "", func(o *objectstore.ObjectInfo) error {
		if info.ContentType != "" {
			o.ContentType = info.ContentType
		}
		o.Headers, o.Metadata, o.ExpiresAt, o.SegmentPrefix = info.Headers, info.Metadata, info.ExpiresAt, info.SegmentPrefix
		return nil
	})
	if err != nil {
		return err
	}
	if link := object.Link; link != nil {
		account := link.Account
		if account == "" {
			account = q.path.Account
		}
		return &refusal{
			status: http.StatusTemporaryRedirect,
			text:   "The requested POST was applied to a symlink. POST directly to the target to apply requested metadata.",
			header: http.Header{"Location": {"/v1/" + escapePath(reseller+account+"/"+link.Container+"/"+link.Object)}},
		}
	}
	return q.done(http.StatusAccepted)
}

// link reads the headers that make an object a link. A link that names an entity tag leads to that object alone, which
// must be there.
func (a *api) link(q *request) (*objectstore.Link, error) {
	if q.ContentLength != 0 {
		var one [1]byte
		if n, _ := q.reads.Read(one[:]); n > 0 || q.ContentLength > 0 {
			return nil, refuse(http.StatusBadRequest, "Symlink requests require a zero byte body")
		}
	}
	const name = "X-Symlink-Target"
	if strings.HasPrefix(unescape(q.Header.Get(name)), "/") {
		return nil, refuse(http.StatusPreconditionFailed, name+" header must be of the form <container name>/<object name>")
	}
	container, object, err := pathHeader(q.Header, name)
	if err != nil {
		return nil, err
	}
	account, err := q.accountHeader(name + "-Account")
	if err != nil {
		return nil, err
	}
	target := objectstore.Path{Account: account, Container: container, Object: object}
	if target == q.path {
		return nil, refuse(http.StatusBadRequest, "Symlink cannot target itself")
	}
	link := &objectstore.Link{Container: container, Object: object}
	if q.Header.Get(name+"-Account") != "" {
		link.Account = account
	}
	link.ETag = bareETag(q.Header.Get(name + "-Etag"))
	if strings.ContainsAny(link.ETag, `;"\`) {
		return nil, refuse(http.StatusBadRequest, "Bad "+name+"-Etag format")
	}
	if link.ETag == "" {
		return link, nil
	}
	return link, a.pin(q, target, link)
}

// pin finds what a link with an entity tag leads to.
func (a *api) pin(q *request, target objectstore.Path, link *objectstore.Link) error {
	reader, err := a.store.Open(q.Context(), q.caller, target, objectstore.OpenSpec{})
	location := http.Header{"Content-Location": {"/v1/" + escapePath(reseller+target.Account+"/"+target.Container+"/"+target.Object)}}
	switch {
	case errors.Is(err, objectstore.ErrNotFound):
		return &refusal{status: http.StatusConflict, text: "X-Symlink-Target does not exist", header: location}
	case err != nil:
		return err
	case reader.ETag != link.ETag:
		return &refusal{status: http.StatusConflict, header: location, text: "Object Etag '" + reader.ETag +
			"' does not match X-Symlink-Target-Etag header '" + link.ETag + "'"}
	}
	link.Size, link.ContentType = reader.Size, reader.ContentType
	return nil
}
