package s3

import (
	"encoding/xml"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

const (
	headerCopySource = "X-Amz-Copy-Source"
	copyConditions   = "X-Amz-Copy-Source-"
)

// source is what is copied.
type source struct {
	path    objectstore.Path
	version string
	null    bool
}

// copySource reads "bucket/key?versionId=…", encoded as in a path; a slash may stand before it.
func (q *request) copySource() (s source, err error) {
	bad := fail("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey").with("ArgumentName", "x-amz-copy-source")
	text, query, found := strings.Cut(q.Header.Get(headerCopySource), "?")
	if found {
		values, err := url.ParseQuery(query)
		if err != nil {
			return s, bad
		}
		if s.version, s.null, err = versionOf(values); err != nil {
			return s, err
		}
	}
	if text, err = url.PathUnescape(text); err != nil {
		return s, bad
	}
	bucket, key, found := strings.Cut(strings.TrimPrefix(text, "/"), "/")
	if !found || bucket == "" || key == "" {
		return s, bad
	}
	s.path = bucketPath(bucket)
	s.path.Object = key
	if s.path.Account == "" {
		s.path.Account = q.caller.Account
	}
	return s, nil
}

// directive is COPY or REPLACE.
func directive(h http.Header, name string) (replace bool, err error) {
	switch h.Get(name) {
	case "", "COPY":
		return false, nil
	case "REPLACE":
		return true, nil
	}
	return false, fail("InvalidArgument", "Unknown directive in %s.", strings.ToLower(name)).with("ArgumentName", strings.ToLower(name))
}

type copyResult struct {
	XMLName      xml.Name
	LastModified string
	ETag         string
	checksumFields
}

// copied finds out what the copy's info is.
func (a *api) copied(q *request, from source, spec *objectstore.CopySpec) error {
	replace, err := directive(q.Header, "X-Amz-Metadata-Directive")
	if err != nil {
		return err
	}
	replaceTags, err := directive(q.Header, "X-Amz-Tagging-Directive")
	if err != nil {
		return err
	}
	given, err := objectInfo(q.Header)
	if err != nil {
		return err
	}
	if !replace && !replaceTags {
		if from.path == q.path && from.version == "" && !from.null {
			return fail("InvalidRequest", "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.")
		}
		return nil
	}
	spec.Replace, spec.ObjectInfo = true, given
	if replace && replaceTags {
		return nil
	}
	// One of both is the source's.
	o, err := a.objects.Open(q.Context(), q.caller, from.path, objectstore.OpenSpec{Version: from.version, NullVersion: from.null, Conditions: spec.SourceConditions})
	if err != nil {
		return sourceMissing(err, from)
	}
	if replace {
		spec.Tags = maps.Clone(o.Object.Tags)
		return nil
	}
	tags := spec.Tags
	spec.ObjectInfo = o.Object.ObjectInfo
	spec.Tags = tags
	return nil
}

// sourceMissing says of a source that did not match that a precondition failed, never that nothing was modified.
func sourceMissing(err error, from source) error {
	switch e := toAPI(err); e.Code {
	case notModified.Code:
		return fail("PreconditionFailed", "At least one of the preconditions that you specified did not hold.")
	case "NoSuchKey":
		return e.with("Key", from.path.Object)
	}
	return err
}

func (a *api) copyObject(q *request) error {
	from, err := q.copySource()
	if err != nil {
		return err
	}
	if err := a.objectACL(q); err != nil {
		return err
	}
	spec := objectstore.CopySpec{Version: from.version, NullVersion: from.null}
	if spec.SourceConditions, err = conditions(q.Header, copyConditions); err != nil {
		return err
	}
	if spec.Conditions, err = writeConditions(q.Header); err != nil {
		return err
	}
	if err := a.copied(q, from, &spec); err != nil {
		return err
	}
	o, err := a.objects.Copy(q.Context(), q.caller, from.path, q.path, spec)
	if err != nil {
		return sourceMissing(err, from)
	}
	h := q.w.Header()
	if o.Version != "" {
		h.Set("X-Amz-Version-Id", o.Version)
	}
	if from.version != "" {
		h.Set("X-Amz-Copy-Source-Version-Id", from.version)
	}
	return writeXML(q.w, http.StatusOK, copyResult{
		XMLName: xml.Name{Space: namespace, Local: "CopyObjectResult"}, LastModified: stamp(o.LastModified()), ETag: quoted(o.EntityTag()), checksumFields: checksumsOf(o.Checksums),
	})
}
