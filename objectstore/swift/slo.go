package swift

import (
	"bytes"
	"cmp"
	"crypto/md5" //nolint:gosec // Swift's entity tags
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// wish is an element of a manifest that a client uploads: a path, or data.
type wish struct {
	path   objectstore.Path // without the account
	data   []byte
	etag   string // empty for any
	size   int64  // -1 for any
	ranges string // the part of a Range header behind "bytes="
}

// parseManifest reads a manifest of a static large object. What is wrong with its elements is told together.
func parseManifest(text []byte, self objectstore.Path) ([]wish, error) {
	if !json.Valid(text) {
		return nil, refuse(http.StatusBadRequest, "Manifest must be valid JSON.\n")
	}
	var elements []json.RawMessage
	if json.Unmarshal(text, &elements) != nil || elements == nil {
		return nil, refuse(http.StatusBadRequest, "Manifest must be a list.\n")
	}
	var problems strings.Builder
	list := make([]wish, 0, len(elements))
	objects := 0
	for i, element := range elements {
		w, problem := parseWish(element, self, i == len(elements)-1)
		if problem != "" {
			fmt.Fprintf(&problems, "Index %d: %s\n", i, problem)
		}
		if w.data == nil {
			objects++
		}
		list = append(list, w)
	}
	if len(list) > 0 && objects == 0 {
		problems.WriteString("Inline data segments require at least one object-backed segment.\n")
	}
	if problems.Len() > 0 {
		return nil, refuse(http.StatusBadRequest, "%s", problems.String())
	}
	return list, nil
}

func parseWish(element json.RawMessage, self objectstore.Path, last bool) (w wish, problem string) {
	w.size = -1
	var fields map[string]json.RawMessage
	if json.Unmarshal(element, &fields) != nil || fields == nil {
		return w, "not a JSON object"
	}
	allowed := []string{"path", "range", "etag", "size_bytes"}
	if _, data := fields["data"]; data {
		allowed = []string{"data"}
	} else if _, path := fields["path"]; !path {
		return w, "expected keys to include one of 'data' or 'path'"
	}
	var extra []string
	for key := range fields {
		if !slices.Contains(allowed, key) {
			extra = append(extra, strconv.Quote(key))
		}
	}
	if len(extra) > 0 {
		slices.Sort(extra)
		return w, "extraneous keys " + strings.Join(extra, ", ")
	}
	if data, is := fields["data"]; is {
		return parseData(data)
	}
	return w, w.parsePath(fields, self, last)
}

func parseData(field json.RawMessage) (w wish, problem string) {
	var text string
	if json.Unmarshal(field, &text) != nil {
		return w, "data must be valid base64"
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimRight(text, "=") + strings.Repeat("=", (4-len(strings.TrimRight(text, "="))%4)%4))
	switch {
	case err != nil:
		return w, "data must be valid base64"
	case len(data) == 0:
		return w, "too small; each segment must be at least 1 byte."
	}
	return wish{data: data, size: -1}, ""
}

func (w *wish) parsePath(fields map[string]json.RawMessage, self objectstore.Path, last bool) (problem string) {
	var path string
	if json.Unmarshal(fields["path"], &path) != nil || bytes.Equal(fields["path"], []byte("null")) {
		return `"path" must be a string`
	}
	if etag, given := fields["etag"]; given && json.Unmarshal(etag, &w.etag) != nil {
		return `"etag" must be a string or null (if provided)`
	}
	w.etag = bareETag(w.etag)
	container, object, _ := strings.Cut(strings.TrimLeft(path, "/"), "/")
	if container == "" || object == "" {
		return "path does not refer to an object. Path must be of the form /container/object."
	}
	w.path = objectstore.Path{Container: container, Object: object}
	if w.path.Container == self.Container && w.path.Object == self.Object {
		return "manifest must not include itself as a segment"
	}
	if !w.parseSize(fields["size_bytes"]) {
		return "invalid size_bytes"
	}
	if w.size == 0 && !last {
		return "too small; each segment must be at least 1 byte."
	}
	return w.parseRange(fields["range"])
}

// parseSize takes a number, a number in a string, and null for any.
func (w *wish) parseSize(field json.RawMessage) bool {
	text := strings.Trim(string(field), `"`)
	if text == "" || text == "null" {
		return len(field) == 0 || text == "null"
	}
	n, err := strconv.ParseInt(text, 10, 64)
	w.size = n
	return err == nil && n >= 0
}

func (w *wish) parseRange(field json.RawMessage) (problem string) {
	var text string
	if len(field) > 0 && json.Unmarshal(field, &text) != nil {
		return "invalid range"
	}
	if text == "" {
		return ""
	}
	// Whether it can be satisfied turns out when the size is known.
	spans, ok := parseRange("bytes="+text, max(w.size, 0))
	switch {
	case strings.Contains(text, ","):
		return "multiple ranges (only one allowed)"
	case !ok:
		return "invalid range"
	case w.size >= 0 && len(spans) != 1:
		return "unsatisfiable range"
	}
	w.ranges = text
	return ""
}

// putManifest makes a static large object of a manifest.
func (a *api) putManifest(q *request) error {
	kind, err := accepted(q.Header.Get("Accept"), reportTypes()...)
	if err != nil {
		kind = reportTypes()[0]
	}
	if q.ContentLength > maxManifestBytes {
		return refuse(http.StatusRequestEntityTooLarge, "Manifest File > %d bytes", maxManifestBytes)
	}
	text, err := io.ReadAll(io.LimitReader(q.reads, maxManifestBytes+1))
	switch {
	case err != nil:
		return errors.Join(objectstore.ErrIncomplete, err)
	case len(text) > maxManifestBytes:
		return refuse(http.StatusRequestEntityTooLarge, "Manifest File > %d bytes", maxManifestBytes)
	}
	wishes, err := parseManifest(text, q.path)
	if err != nil {
		return err
	}
	spec, err := a.putSpec(q)
	if err != nil {
		return err
	}
	report := newReport(kind, "upload", http.StatusBadRequest)
	if truth(q.query.Get("heartbeat")) {
		return a.putSlowly(q, wishes, spec, report)
	}
	object, err := a.putLarge(q, wishes, spec, report, func() {})
	switch {
	case err != nil:
		return err
	case len(report.errors) > 0:
		return q.reported(report)
	}
	return q.created(object)
}

// putSlowly makes a static large object while blanks keep the connection alive, and tells the status behind them.
func (a *api) putSlowly(q *request, wishes []wish, spec objectstore.PutSpec, report *report) error {
	p := a.newPulse(q, report.kind, http.StatusAccepted)
	p.beat()
	object, err := a.putLarge(q, wishes, spec, report, p.tick)
	switch {
	case err != nil:
		f := translate(err, q.known)
		_, text := words(f.status)
		report.end(f.status, cmp.Or(f.text, text))
	case len(report.errors) == 0:
		report.code = http.StatusCreated
		report.extra["Etag"], report.extra["Last Modified"] = strconv.Quote(object.EntityTag()), lastModified(object.CreatedAt)
	}
	p.tell(report.render())
	return nil
}

// putLarge makes a static large object of the segments that are wished for, unless the report says what is wrong with them.
func (a *api) putLarge(q *request, wishes []wish, spec objectstore.PutSpec, report *report, tick func()) (*objectstore.Object, error) {
	var err error
	spec.Segments, err = a.segments(q, wishes, report, tick)
	switch {
	case err != nil || len(report.errors) > 0:
		return nil, err
	case spec.ETag != "" && spec.ETag != (&objectstore.Object{ObjectInfo: spec.ObjectInfo}).EntityTag():
		return nil, status(http.StatusUnprocessableEntity)
	}
	manifest := renderManifest(spec.Segments)
	spec.Size, spec.ETag = int64(len(manifest)), ""
	return a.store.Put(q.Context(), q.caller, q.path, spec, bytes.NewReader(manifest))
}

// reported answers with what is wrong with segments.
func (q *request) reported(r *report) error {
	data := r.render()
	if r.kind != "application/json" && !strings.HasSuffix(r.kind, "/xml") {
		data = []byte("Errors:\n")
		for _, e := range r.errors {
			data = append(data, e[0]+", "+e[1]+"\n"...)
		}
	}
	q.w.Header().Set("Content-Type", r.kind)
	return q.body(http.StatusBadRequest, data)
}

// segments looks at every object that a manifest names. What is wrong with them is reported.
func (a *api) segments(q *request, wishes []wish, report *report, tick func()) ([]objectstore.Segment, error) {
	objects, most := 0, a.limits().MaxSegments
	for i := range wishes {
		if wishes[i].data == nil {
			objects++
		}
	}
	if objects > most {
		return nil, refuse(http.StatusRequestEntityTooLarge, "Number of object-backed segments must be <= %d", most)
	}
	type found struct {
		reader *objectstore.Reader
		err    error
	}
	seen := map[objectstore.Path]found{}
	list := make([]objectstore.Segment, len(wishes))
	for i := range wishes {
		w := &wishes[i]
		if w.data != nil {
			list[i] = objectstore.Segment{Data: w.data, Size: int64(len(w.data))}
			continue
		}
		f, known := seen[w.path]
		if !known {
			path := w.path
			path.Account = q.path.Account
			f.reader, f.err = a.store.Open(q.Context(), q.caller, path, objectstore.OpenSpec{})
			seen[w.path] = f
			tick()
		}
		if f.err != nil {
			report.failed("/"+w.path.Container+"/"+w.path.Object, translate(f.err, q.known).status)
			continue
		}
		list[i] = w.segment(f.reader, i == len(wishes)-1, report)
	}
	return list, nil
}

// segment is what the wish becomes with the object that is there.
func (w *wish) segment(r *objectstore.Reader, last bool, report *report) objectstore.Segment {
	s := objectstore.Segment{
		Container: w.path.Container, Name: w.path.Object, ETag: r.ETag, Size: r.Size, SubManifest: len(r.Object.Segments) > 0,
		ContentType: r.ContentType, ModifiedAt: r.Object.ChangedAt,
	}
	wrong := func(problem string) {
		report.errors = append(report.errors, [2]string{escapePath("/" + w.path.Container + "/" + w.path.Object), problem})
	}
	length := r.Size
	if w.ranges != "" {
		spans, _ := parseRange("bytes="+w.ranges, r.Size)
		if len(spans) != 1 {
			wrong("Unsatisfiable Range")
		} else if length = spans[0].length; length < r.Size {
			s.Ranged, s.First, s.Last = true, spans[0].offset, spans[0].offset+length-1
		}
	}
	if length < 1 && !last {
		wrong("Too small; each segment must be at least 1 byte.")
	}
	if w.size >= 0 && w.size != r.Size {
		wrong("Size Mismatch")
	}
	if w.etag != "" && w.etag != r.ETag {
		wrong("Etag Mismatch")
	}
	return s
}

// manifestRow is a segment as multipart-manifest=get shows it.
type manifestRow struct {
	Name         string `json:"name,omitempty"`
	Bytes        *int64 `json:"bytes,omitempty"`
	Hash         string `json:"hash,omitempty"`
	ContentType  string `json:"content_type,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	Range        string `json:"range,omitempty"`
	Sub          bool   `json:"sub_slo,omitempty"`
	Data         []byte `json:"data,omitempty"`
}

func segmentRange(s *objectstore.Segment) string {
	if !s.Ranged {
		return ""
	}
	return fmt.Sprintf("%d-%d", s.First, s.Last)
}

func renderManifest(segments []objectstore.Segment) []byte {
	rows := make([]manifestRow, len(segments))
	for i := range segments {
		s := &segments[i]
		if s.Data != nil {
			rows[i].Data = s.Data
			continue
		}
		rows[i] = manifestRow{
			Name: "/" + s.Container + "/" + s.Name, Bytes: &s.Size, Hash: s.ETag, ContentType: s.ContentType,
			LastModified: isoTime(s.ModifiedAt), Range: segmentRange(s), Sub: s.SubManifest,
		}
	}
	data, _ := json.Marshal(rows) // texts and numbers
	return data
}

// rawRow is a segment as a client would upload it.
type rawRow struct {
	Data  []byte `json:"data,omitempty"`
	ETag  string `json:"etag,omitempty"`
	Path  string `json:"path,omitempty"`
	Range string `json:"range,omitempty"`
	Size  *int64 `json:"size_bytes,omitempty"`
}

func renderRaw(segments []objectstore.Segment) []byte {
	rows := make([]rawRow, len(segments))
	for i := range segments {
		s := &segments[i]
		if s.Data != nil {
			rows[i].Data = s.Data
			continue
		}
		rows[i] = rawRow{Path: "/" + s.Container + "/" + s.Name, ETag: s.ETag, Size: &s.Size, Range: segmentRange(s)}
	}
	data, _ := json.Marshal(rows) // texts and numbers
	return data
}

// sendManifest answers with the manifest of a static large object, as it is kept or as it was uploaded.
func (a *api) sendManifest(q *request, r *objectstore.Reader) error {
	a.objectHeaders(q, r)
	data, kind := renderManifest(r.Object.Segments), "application/json; charset=utf-8"
	if q.query.Get("format") == "raw" {
		data, kind = renderRaw(r.Object.Segments), r.Object.ContentType
	}
	sum := md5.Sum(data) //nolint:gosec // Swift's entity tags
	h := q.w.Header()
	h.Set("Content-Type", kind)
	h.Set("Etag", hex.EncodeToString(sum[:]))
	return q.body(http.StatusOK, data)
}
