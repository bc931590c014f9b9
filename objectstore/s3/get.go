package s3

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/objectstore"
)

const metaPrefix = "X-Amz-Meta-"

// versionOf reads ?versionId.
func versionOf(q url.Values) (version string, null bool, err error) {
	if !q.Has("versionId") {
		return "", false, nil
	}
	switch version = q.Get("versionId"); version {
	case "":
		return "", false, fail("InvalidArgument", "Version id cannot be the empty string").with("ArgumentName", "versionId")
	case nullVersion:
		return "", true, nil
	}
	return version, false, nil
}

// conditions reads the headers of RFC 9110, section 13; prefix is that of a copy's source.
func conditions(h http.Header, prefix string) (c objectstore.Conditions, err error) {
	c.IfMatch, c.IfNoneMatch = etags(h.Get(prefix+"If-Match")), etags(h.Get(prefix+"If-None-Match"))
	for name, t := range map[string]*time.Time{"If-Modified-Since": &c.IfModifiedSince, "If-Unmodified-Since": &c.IfUnmodifiedSince} {
		if text := h.Get(prefix + name); text != "" {
			// What is no date does not count (RFC 9110, section 13.1.3).
			if at, err := http.ParseTime(text); err == nil {
				*t = at
			}
		}
	}
	return c, nil
}

// etags reads a list of entity tags; quotes may be missing.
func etags(text string) (tags []string) {
	for tag := range strings.SplitSeq(text, ",") {
		tag = strings.Trim(strings.TrimPrefix(strings.TrimSpace(tag), "W/"), `"`)
		if tag != "" {
			tags = append(tags, tag)
		}
	}
	return tags
}

func (a *api) getObject(q *request) error {
	spec, err := q.openSpec()
	if err != nil {
		return err
	}
	o, err := a.objects.Open(q.Context(), q.caller, q.path, spec)
	h := q.w.Header()
	if errors.Is(err, objectstore.ErrNotModified) && o != nil {
		h.Set("Etag", quoted(o.ETag))
		h.Set("Last-Modified", httpTime(o.Object.LastModified()))
	}
	if err != nil {
		return missing(err, q)
	}
	describe(h, o)
	if o.Object.Version != "" {
		h.Set("X-Amz-Version-Id", o.Object.Version)
	}
	if err := overrides(h, q); err != nil {
		return err
	}
	offset, length, status := int64(0), o.Size, http.StatusOK
	if spec.Part > 0 {
		h.Set("X-Amz-Mp-Parts-Count", strconv.Itoa(o.Object.PartTotal()))
		if o.Size > 0 {
			status = http.StatusPartialContent
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", o.First, o.First+o.Size-1, o.Object.Length()))
		}
	} else if text := q.Header.Get("Range"); text != "" && ifRange(q.Header.Get("If-Range"), o) {
		var ranged bool
		if offset, length, ranged = parseRange(text, o.Size); ranged && length < 0 {
			h.Set("Content-Range", fmt.Sprintf("bytes */%d", o.Size))
			return fail("InvalidRange", "The requested range is not satisfiable").with("RangeRequested", text).with("ActualObjectSize", formatCount(o.Size))
		} else if ranged {
			status = http.StatusPartialContent
			h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, offset+length-1, o.Size))
		}
	}
	if status != http.StatusPartialContent && strings.EqualFold(q.Header.Get("X-Amz-Checksum-Mode"), "ENABLED") {
		checksumHeaders(h, o.Object)
	}
	h.Set("Content-Length", formatCount(length))
	if q.Method == http.MethodHead {
		q.w.WriteHeader(status)
		return nil
	}
	return a.send(q, o, offset, length, status)
}

func (q *request) openSpec() (spec objectstore.OpenSpec, err error) {
	if spec.Version, spec.NullVersion, err = versionOf(q.query); err != nil {
		return spec, err
	}
	if spec.Conditions, err = conditions(q.Header, ""); err != nil {
		return spec, err
	}
	if !q.query.Has("partNumber") {
		return spec, nil
	}
	n, err := parseCount(q.query.Get("partNumber"))
	if err != nil || n < 1 || n > maxParts {
		return spec, fail("InvalidArgument", "Part number must be an integer between 1 and %d, inclusive", maxParts).with("ArgumentName", "partNumber")
	}
	if q.Header.Get("Range") != "" {
		return spec, fail("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
	}
	spec.Part = int(n)
	return spec, nil
}

// missing tells a delete marker that was named from one that hides the object.
func missing(err error, q *request) error {
	if errors.Is(err, objectstore.ErrRange) {
		return fail("InvalidPartNumber", "The requested partnumber is not satisfiable")
	}
	if e := toAPI(err); e.Code == "NoSuchKey" {
		if isMarker(err) && q.query.Has("versionId") {
			q.w.Header().Set("X-Amz-Delete-Marker", "true")
			q.w.Header().Set("Allow", "DELETE")
			return fail("MethodNotAllowed", "The specified method is not allowed against this resource.").with("ResourceType", "DeleteMarker")
		}
		if isMarker(err) {
			q.w.Header().Set("X-Amz-Delete-Marker", "true")
		}
		return e.with("Key", q.path.Object)
	}
	return err
}

// describe sets the headers of an object.
func describe(h http.Header, o *objectstore.Reader) {
	h.Set("Accept-Ranges", "bytes")
	h.Set("Etag", quoted(o.ETag))
	h.Set("Last-Modified", httpTime(o.Object.LastModified()))
	contentType := o.ContentType
	if contentType == "" {
		contentType = defaultContentType
	}
	h.Set("Content-Type", contentType)
	for name, value := range o.Object.Headers {
		h.Set(name, value)
	}
	for name, value := range o.Object.Metadata {
		// In lower case, as S3 answers: some clients keep the case of what they are given.
		h[strings.ToLower(metaPrefix)+name] = []string{value}
	}
	if n := len(o.Object.Tags); n > 0 {
		h.Set("X-Amz-Tagging-Count", strconv.Itoa(n))
	}
	if !o.Object.ExpiresAt.IsZero() {
		h.Set("X-Amz-Expiration", fmt.Sprintf(`expiry-date="%s", rule-id=""`, httpTime(o.Object.ExpiresAt)))
	}
}

func checksumHeaders(h http.Header, o *objectstore.Object) {
	for i := range algorithms {
		value, found := o.Checksums[algorithms[i].name]
		if !found {
			continue
		}
		h.Set(algorithms[i].header, value)
		kind := "FULL_OBJECT"
		if strings.Contains(value, "-") {
			kind = "COMPOSITE"
		}
		h.Set("X-Amz-Checksum-Type", kind)
	}
}

// overrides are the headers that a signed request may ask for.
var overridable = []string{"Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Expires"}

func overrides(h http.Header, q *request) error {
	for _, name := range overridable {
		parameter := "response-" + strings.ToLower(name)
		if !q.query.Has(parameter) {
			continue
		}
		if !q.signed {
			return fail("InvalidRequest", "Request specific response headers cannot be used for anonymous GET requests.")
		}
		value := q.query.Get(parameter)
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return fail("InvalidArgument", "Header value cannot be represented.").with("ArgumentName", parameter)
		}
		h.Set(name, value)
	}
	return nil
}

// parseRange reads one range of bytes. More than one, and what is none, does not count: the whole object is the answer, as
// S3's is. A range that the object does not reach has a negative length.
func parseRange(text string, size int64) (offset, length int64, ranged bool) {
	spec, found := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(strings.TrimSpace(spec), "-")
	if !found || !dash || strings.Contains(spec, ",") {
		return 0, size, false
	}
	if first == "" {
		n, err := parseDigits(last)
		switch {
		case err != nil:
			return 0, size, false
		case n == 0 || size == 0:
			return 0, -1, true
		}
		n = min(n, size)
		return size - n, n, true
	}
	from, err := parseDigits(first)
	if err != nil {
		return 0, size, false
	}
	to := size - 1
	if last != "" {
		end, err := parseDigits(last)
		if err != nil || end < from {
			return 0, size, false
		}
		to = min(to, end)
	}
	if from >= size {
		return 0, -1, true
	}
	return from, to - from + 1, true
}

// parseDigits reads a number without a sign; one that is too large is the largest.
func parseDigits(text string) (int64, error) {
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < '0' || r > '9' }) {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if errors.Is(err, strconv.ErrRange) {
		return math.MaxInt64, nil
	}
	return n, err
}

// ifRange says whether the range is of the object that the client has (RFC 9110, section 13.1.5).
func ifRange(text string, o *objectstore.Reader) bool {
	if text == "" {
		return true
	}
	if at, err := http.ParseTime(text); err == nil {
		return o.Object.LastModified().Equal(at)
	}
	return slices.Contains(etags(text), o.ETag) && !strings.HasPrefix(text, "W/")
}

// send writes the bytes. A file of the store is handed to the kernel.
func (a *api) send(q *request, o *objectstore.Reader, offset, length int64, status int) error {
	if length == 0 {
		q.w.WriteHeader(status)
		return nil
	}
	content, err := o.Range(q.Context(), offset, length)
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	// A large object takes longer than a server lets its other answers take.
	_ = http.NewResponseController(q.w).SetWriteDeadline(time.Time{})
	q.w.WriteHeader(status)
	var src io.Reader = content
	if f, ok := content.(interface{ File() io.Reader }); ok {
		src = f.File()
	}
	if n, err := io.Copy(q.w, src); err != nil || n != length {
		// What was promised cannot come: the connection ends, so that the client does not take a part for the whole.
		if err != nil && q.Context().Err() == nil {
			a.options.Log.Error("download cut", "request", q.w.Header().Get(headerRequestID), "path", q.URL.Path, "sent", n, "of", length, "error", err)
		}
		panic(http.ErrAbortHandler)
	}
	return nil
}
