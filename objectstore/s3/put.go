package s3

import (
	"errors"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

const (
	defaultContentType = "binary/octet-stream"
	// maxMetadata is how much metadata an object may have, names and values ("Working with object metadata").
	maxMetadata = 8 << 10
)

func isMarker(err error) bool { return errors.Is(err, objectstore.ErrDeleteMarker) }

// kept are the headers that an object gives back.
var kept = []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Expires"}

// objectInfo reads what the headers say of an object.
func objectInfo(h http.Header) (info objectstore.ObjectInfo, err error) {
	if err := refused(h); err != nil {
		return info, err
	}
	if info.ContentType = h.Get("Content-Type"); info.ContentType == "" {
		info.ContentType = defaultContentType
	}
	info.Headers, info.Metadata = map[string]string{}, map[string]string{}
	for _, name := range kept {
		value := strings.Join(h.Values(name), ",")
		if name == "Content-Encoding" {
			value = withoutChunks(value)
		}
		if value != "" {
			info.Headers[name] = value
		}
	}
	size := 0
	for name, values := range h {
		if key, found := strings.CutPrefix(name, metaPrefix); found && key != "" {
			value := strings.Join(values, ",")
			info.Metadata[strings.ToLower(key)] = value
			size += len(key) + len(value)
		}
	}
	if size > maxMetadata {
		return info, fail("MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size.").with("MaxSizeAllowed", formatCount(maxMetadata))
	}
	if text := h.Get("X-Amz-Tagging"); text != "" {
		if info.Tags, err = parseTags(text); err != nil {
			return info, err
		}
	}
	return info, nil
}

// withoutChunks takes out the encoding that only the way here had.
func withoutChunks(encodings string) string {
	var left []string
	for e := range strings.SplitSeq(encodings, ",") {
		if e = strings.TrimSpace(e); e != "" && !strings.EqualFold(e, "aws-chunked") {
			left = append(left, e)
		}
	}
	return strings.Join(left, ",")
}

// refused says no to what would be wrong to overlook: who asks for encryption does not want it kept in clear.
func refused(h http.Header) error {
	for name := range h {
		lower := strings.ToLower(name)
		switch {
		case strings.HasPrefix(lower, "x-amz-server-side-encryption"), strings.HasPrefix(lower, "x-amz-object-lock-"),
			lower == "x-amz-website-redirect-location":
			return fail("NotImplemented", "A header you provided implies functionality that is not implemented.").with("Header", lower)
		case strings.HasPrefix(lower, "x-amz-grant-"):
			return fail("AccessControlListNotSupported", "Objects here have no access lists of their own; buckets have.")
		}
	}
	if class := h.Get("X-Amz-Storage-Class"); class != "" && class != "STANDARD" {
		return fail("InvalidStorageClass", "The storage class you specified is not valid").with("StorageClassRequested", class)
	}
	return nil
}

// putSpec is what the headers say of a body that is content.
func (q *request) putSpec() (spec objectstore.PutSpec, err error) {
	if q.body.size < 0 {
		return spec, fail("MissingContentLength", "You must provide the Content-Length HTTP header.")
	}
	spec.Size, spec.Verify = q.body.size, q.body.verify
	if spec.ETag, err = contentMD5(q.Header); err != nil {
		return spec, err
	}
	spec.Conditions, err = writeConditions(q.Header)
	return spec, err
}

// writeConditions are If-Match with an entity tag, and If-None-Match with "*", which is all that writes take.
func writeConditions(h http.Header) (objectstore.Conditions, error) {
	c, err := conditions(h, "")
	if err != nil {
		return c, err
	}
	if len(c.IfNoneMatch) > 0 && (len(c.IfNoneMatch) > 1 || c.IfNoneMatch[0] != "*") {
		return c, fail("NotImplemented", "A header you provided implies functionality that is not implemented.").with("Header", "If-None-Match")
	}
	return objectstore.Conditions{IfMatch: c.IfMatch, IfNoneMatch: c.IfNoneMatch}, nil
}

func (a *api) putObject(q *request) error {
	spec, err := q.putSpec()
	if err != nil {
		return err
	}
	if spec.ObjectInfo, err = objectInfo(q.Header); err != nil {
		return err
	}
	if err := a.objectACL(q); err != nil {
		return err
	}
	o, err := a.objects.Put(q.Context(), q.caller, q.path, spec, q.body)
	if err != nil {
		return a.written(q, err, spec.Conditions)
	}
	h := q.w.Header()
	h.Set("Etag", quoted(o.ETag))
	if o.Version != "" {
		h.Set("X-Amz-Version-Id", o.Version)
	}
	checksumHeaders(h, o)
	h.Set("Content-Length", "0")
	q.w.WriteHeader(http.StatusOK)
	return nil
}

// written says that there is nothing to match where a write wanted something to be there.
func (a *api) written(q *request, err error, c objectstore.Conditions) error {
	if len(c.IfMatch) > 0 && errors.Is(err, objectstore.ErrPrecondition) {
		if _, err := a.objects.Open(q.Context(), q.caller, q.path, objectstore.OpenSpec{}); errors.Is(err, objectstore.ErrNoObject) {
			return fail("NoSuchKey", "The specified key does not exist.").with("Key", q.path.Object)
		}
	}
	return err
}
