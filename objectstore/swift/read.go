package swift

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/kintoun/kintoun/objectstore"
)

// getObject serves GET and HEAD.
func (a *api) getObject(q *request) error {
	if a.isWeb(q) {
		return a.webObject(q)
	}
	reader, err := a.open(q, q.path)
	if err != nil {
		return err
	}
	return a.send(q, reader)
}

// open opens what the request asks for. A version that says that the object was deleted tells which it is.
func (a *api) open(q *request, path objectstore.Path) (*objectstore.Reader, error) {
	spec := q.openSpec()
	spec.Conditions = conditions(q.Header)
	reader, err := a.store.Open(q.Context(), q.caller, path, spec)
	if errors.Is(err, objectstore.ErrDeleteMarker) && spec.Version != "" {
		return nil, &refusal{status: http.StatusNotFound, header: http.Header{
			"X-Object-Version-Id": {spec.Version}, "Content-Type": {markerKind},
		}}
	}
	if errors.Is(err, objectstore.ErrNotModified) || errors.Is(err, objectstore.ErrPrecondition) {
		// A client whose conditions do not hold hears what there is (RFC 9110, section 15.4.5).
		a.objectHeaders(q, reader)
		q.w.Header().Del("Content-Length")
	}
	return reader, err
}

// openSpec is which version of an object is meant, and whether it, or what it leads to.
func (q *request) openSpec() objectstore.OpenSpec {
	spec := objectstore.OpenSpec{
		NoFollow: q.query.Get("symlink") == "get", Manifest: q.query.Get("multipart-manifest") == "get",
	}
	switch version := q.query.Get("version-id"); version {
	case "null":
		spec.NullVersion = true
	default:
		spec.Version = version
	}
	return spec
}

// objectHeaders tells what a client gets to know of an object.
func (a *api) objectHeaders(q *request, r *objectstore.Reader) {
	h, o := q.w.Header(), r.Object
	for name, value := range o.Headers {
		h.Set(name, value)
	}
	setMetadata(h, "Object", o.Metadata)
	kind := r.ContentType
	if kind == "" {
		kind = "application/octet-stream"
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.FormatInt(r.Size, 10))
	h.Set("Etag", r.ETag)
	h.Set("Accept-Ranges", "bytes")
	h.Set("X-Timestamp", timestamp(o.ChangedAt))
	h.Set("Last-Modified", lastModified(o.ChangedAt))
	if !o.ExpiresAt.IsZero() {
		h.Set("X-Delete-At", strconv.FormatInt(o.ExpiresAt.Unix(), 10))
	}
	if o.Version != "" {
		h.Set("X-Object-Version-Id", o.Version)
	}
	manifest := q.query.Get("multipart-manifest") == "get"
	switch {
	case len(o.Segments) > 0:
		h.Set("X-Static-Large-Object", "True")
		if manifest {
			h.Set("Content-Type", "application/json; charset=utf-8")
			break
		}
		h.Set("X-Manifest-Etag", o.ETag)
		h.Set("Etag", strconv.Quote(r.ETag))
	case o.SegmentPrefix != "":
		h.Set("X-Object-Manifest", escapePath(o.SegmentPrefix))
		if !manifest {
			h.Set("Etag", strconv.Quote(r.ETag))
		}
	case o.PartCount > 1:
		// What S3 took in parts is shown as Swift's own S3 shows it, so that clients know that the entity tag is not the
		// content's MD5. It has no segments of its own.
		h.Set("X-Static-Large-Object", "True")
		h.Set("Etag", strconv.Quote(r.ETag))
	}
	if o.Link != nil {
		q.linkHeaders(o.Link)
	}
	if r.Target != q.path {
		h.Set("Content-Location", "/v1/"+escapePath(reseller+r.Target.Account+"/"+r.Target.Container+"/"+r.Target.Object))
	}
}

// linkHeaders tells where a link leads, for whom asks for the link itself.
func (q *request) linkHeaders(link *objectstore.Link) {
	h := q.w.Header()
	h.Set("X-Symlink-Target", escapePath(link.Container+"/"+link.Object))
	if link.Account != "" {
		h.Set("X-Symlink-Target-Account", escapePath(reseller+link.Account))
	}
	if link.ETag != "" {
		h.Set("X-Symlink-Target-Etag", link.ETag)
		h.Set("X-Symlink-Target-Bytes", strconv.FormatInt(link.Size, 10))
	}
}

// send answers with the object, or the ranges of it that are asked for.
func (a *api) send(q *request, r *objectstore.Reader) error {
	if o := r.Object; (len(o.Segments) > 0 || o.PartCount > 1) && q.query.Get("multipart-manifest") == "get" {
		return a.sendManifest(q, r)
	}
	a.objectHeaders(q, r)
	h := q.w.Header()
	code, spans, err := q.wanted(r)
	switch {
	case err != nil:
		h.Del("Etag")
		return err
	case len(spans) == 0:
		h.Del("Etag")
		return &refusal{status: http.StatusRequestedRangeNotSatisfiable, header: http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", r.Size)}}}
	case code == http.StatusOK:
	case len(spans) == 1:
		h.Set("Content-Range", spans[0].contentRange(r.Size))
		h.Set("Content-Length", strconv.FormatInt(spans[0].length, 10))
	default:
		return a.sendParts(q, r, spans)
	}
	if q.Method == http.MethodHead || spans[0].length == 0 {
		q.start(code)
		return nil
	}
	body, err := r.Range(q.Context(), spans[0].offset, spans[0].length)
	if r.Large && errors.Is(err, objectstore.ErrNotFound) {
		return status(http.StatusConflict) // a segment that is gone
	}
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	q.begin(code)
	n, err := copyBody(q.w, body)
	return a.sent(q, n, err, spans[0].length)
}

// wanted is what of the object is asked for, and the status of the answer. No spans are a range that it does not have.
func (q *request) wanted(r *objectstore.Reader) (code int, spans []span, err error) {
	if o := r.Object; q.query.Has("part-number") && (len(o.Segments) > 0 || o.PartCount > 1) {
		part, err := q.part(r)
		return http.StatusPartialContent, []span{part}, err
	}
	if text := q.Header.Get("Range"); text != "" && q.Method == http.MethodGet && q.ifRange(r) {
		if spans, ok := parseRange(text, r.Size); ok {
			return http.StatusPartialContent, spans, nil
		}
	}
	return http.StatusOK, []span{{0, r.Size}}, nil
}

// part is where the segment lies that part-number asks for, from 1 on (Swift API, Static Large Objects). The answer says how
// many there are.
func (q *request) part(r *objectstore.Reader) (s span, err error) {
	n, err := strconv.Atoi(q.query.Get("part-number"))
	if err != nil || n < 1 {
		return s, refuse(http.StatusBadRequest, "Part number must be an integer greater than 0")
	}
	if q.Header.Get("Range") != "" {
		return s, refuse(http.StatusBadRequest, "Range requests are not supported with part number queries")
	}
	parts, err := r.Parts(q.Context())
	if err != nil {
		return s, err
	}
	q.w.Header().Set("X-Parts-Count", strconv.Itoa(len(parts)))
	if n > len(parts) {
		return s, &refusal{
			status: http.StatusRequestedRangeNotSatisfiable, text: "The requested part number is not satisfiable",
			header: http.Header{"Content-Range": {fmt.Sprintf("bytes */%d", r.Size)}},
		}
	}
	for i := range parts[:n-1] {
		s.offset += parts[i].Size
	}
	s.length = parts[n-1].Size
	return s, nil
}

// ifRange says whether a Range header counts: without If-Range, or with the object as that says (RFC 9110, section 13.1.5).
func (q *request) ifRange(r *objectstore.Reader) bool {
	text := q.Header.Get("If-Range")
	if text == "" || bareETag(text) == r.ETag {
		return true
	}
	return text == q.w.Header().Get("Last-Modified")
}

// begin begins an answer that may take longer than a server lets its others take.
func (q *request) begin(code int) {
	_ = http.NewResponseController(q.w).SetWriteDeadline(time.Time{})
	q.start(code)
}

func (a *api) sendParts(q *request, r *objectstore.Reader, spans []span) error {
	p := newParts(spans, r.Size, q.w.Header().Get("Content-Type"))
	p.header(q.w.Header())
	q.begin(http.StatusPartialContent)
	err := p.write(q.w, func(s span) error {
		body, err := r.Range(q.Context(), s.offset, s.length)
		if err != nil {
			return err
		}
		defer func() { _ = body.Close() }()
		n, err := copyBody(q.w, body)
		if err == nil && n != s.length {
			err = io.ErrUnexpectedEOF
		}
		return err
	})
	return a.sent(q, p.length(), err, p.length())
}

// copyBody copies in the way that lets the kernel do it where the content is a file.
func copyBody(w http.ResponseWriter, body io.Reader) (int64, error) {
	if file, ok := body.(interface{ File() io.Reader }); ok { // driver.FileReader
		body = file.File()
	}
	return io.Copy(w, body)
}

// sent ends the connection when less was sent than promised, so that the client knows.
func (a *api) sent(q *request, n int64, err error, promised int64) error {
	if err == nil && n == promised {
		return nil
	}
	if q.Context().Err() == nil {
		a.options.Log.Warn("an answer was cut", "request", q.w.Header().Get("X-Trans-Id"), "path", q.URL.Path, "sent", n, "of", promised, "error", err)
	}
	panic(http.ErrAbortHandler)
}
