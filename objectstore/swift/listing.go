package swift

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// markerKind is the content type of a version that says that the object was deleted.
const markerKind = "application/x-deleted;swift_versions_deleted=1"

// listingType is the media type that a listing is wanted in: what the parameter format says, or else the header Accept.
func listingType(q *request) (string, error) {
	switch format := strings.ToLower(q.query.Get("format")); format {
	case "json", "xml":
		return "application/" + format, nil
	case "":
		return accepted(q.Header.Get("Accept"), "text/plain", "application/json", "application/xml", "text/xml")
	}
	return "text/plain", nil
}

// accepted is the one of the offers that an Accept header likes best (RFC 9110, section 12.5.1); the first among equals.
func accepted(accept string, offers ...string) (string, error) {
	if strings.TrimSpace(accept) == "" {
		return offers[0], nil
	}
	best, chosen := 0.0, ""
	for _, offer := range offers {
		if q := quality(accept, offer); q > best {
			best, chosen = q, offer
		}
	}
	if chosen == "" {
		return "", status(http.StatusNotAcceptable)
	}
	return chosen, nil
}

// quality is what the most specific range that matches the offer says of it.
func quality(accept, offer string) float64 {
	group, _, _ := strings.Cut(offer, "/")
	quality, specific := 0.0, 0
	for _, text := range strings.Split(accept, ",") {
		kind, params, err := mime.ParseMediaType(strings.TrimSpace(text))
		if err != nil {
			continue
		}
		rank := map[string]int{offer: 3, group + "/*": 2, "*/*": 1, "*": 1}[kind]
		if rank <= specific {
			continue
		}
		specific, quality = rank, 1
		if text, given := params["q"]; given {
			if quality, err = strconv.ParseFloat(text, 64); err != nil {
				quality = 0
			}
		}
	}
	return quality
}

// page reads which part of a listing is wanted, of most entries at most. A limit of zero is a page of nothing.
func (q *request) page(most int) (objectstore.Listing, error) {
	p := objectstore.Listing{
		Prefix: q.query.Get("prefix"), Delimiter: q.query.Get("delimiter"), Marker: q.query.Get("marker"),
		EndMarker: q.query.Get("end_marker"), VersionMarker: q.query.Get("version_marker"),
		Reverse: truth(q.query.Get("reverse")), Limit: most,
	}
	if text := q.query.Get("limit"); text != "" {
		if n, err := strconv.Atoi(text); err == nil && n >= 0 {
			if n > most {
				return p, refuse(http.StatusPreconditionFailed, "Maximum limit is %d", most)
			}
			p.Limit = n
		}
	}
	return p, nil
}

// directory lists what is in a directory named by the parameter path, without its subdirectories: only objects, among them
// those whose names end in a slash.
func (a *api) directory(q *request, page objectstore.Listing) (objectstore.ObjectList, error) {
	path := q.query.Get("path")
	if path != "" {
		path = strings.TrimRight(path, "/") + "/"
	}
	page.Prefix, page.Delimiter = path, "/"
	var found objectstore.ObjectList
	if page.Limit == 0 {
		return found, nil
	}
	for wanted := page.Limit; ; {
		list, err := a.store.Objects(q.Context(), q.caller, q.path, page)
		if err != nil {
			return found, err
		}
		for _, e := range list.Entries {
			page.Marker = e.Prefix
			if e.Object != nil {
				page.Marker = e.Name
			} else if e.Object, err = a.placeholder(q, e.Prefix); err != nil {
				return found, err
			}
			if e.Object != nil && e.Name != path && len(found.Entries) < wanted {
				e.Prefix = ""
				found.Entries = append(found.Entries, e)
			}
		}
		if !list.Truncated || len(found.Entries) >= wanted || len(list.Entries) == 0 {
			return found, nil
		}
	}
}

// placeholder is the object of the very name of a subdirectory, or nil.
func (a *api) placeholder(q *request, name string) (*objectstore.Object, error) {
	list, err := a.store.Objects(q.Context(), q.caller, q.path, objectstore.Listing{Prefix: name, Limit: 1})
	if err != nil || len(list.Entries) == 0 || list.Entries[0].Object == nil || list.Entries[0].Name != name {
		return nil, err
	}
	return list.Entries[0].Object, nil
}

// versions lists all versions of objects.
func (a *api) versions(q *request, page objectstore.Listing) (objectstore.ObjectList, error) {
	if page.VersionMarker != "" && page.Marker == "" {
		return objectstore.ObjectList{}, refuse(http.StatusBadRequest, "version_marker param requires marker")
	}
	if accept := q.Header.Get("Accept"); accept != "" {
		if _, err := accepted(accept, "application/json"); err != nil && q.query.Get("format") != "json" {
			return objectstore.ObjectList{}, err
		}
	}
	return a.store.Versions(q.Context(), q.caller, q.path, page)
}

// lister writes a listing in one of the three formats.
type lister struct {
	kind     string
	b        bytes.Buffer
	entries  int
	root     string
	versions bool
}

// listing answers with what each writes.
func (q *request) listing(kind string, each func(*lister)) error {
	l := &lister{kind: kind, versions: q.query.Has("versions")}
	each(l)
	l.end()
	h := q.w.Header()
	h.Set("Content-Type", kind+"; charset=utf-8")
	if !q.query.Has("format") {
		h.Add("Vary", "Accept")
	}
	if l.b.Len() == 0 {
		return q.empty(http.StatusNoContent)
	}
	return q.body(http.StatusOK, l.b.Bytes())
}

func (l *lister) isXML() bool { return strings.HasSuffix(l.kind, "/xml") }

func (l *lister) begin(root, name string) {
	l.root = root
	switch {
	case l.kind == "application/json":
		l.b.WriteByte('[')
	case l.isXML():
		l.b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<" + root + ` name="` + escapeXML(name) + `">` + "\n")
	}
}

func (l *lister) end() {
	switch {
	case l.kind == "application/json":
		l.b.WriteByte(']')
	case l.isXML():
		l.b.WriteString("</" + l.root + ">")
	}
}

func escapeXML(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder does not fail
	return b.String()
}

func (l *lister) json(v any) {
	if l.entries > 0 {
		l.b.WriteString(", ")
	}
	l.entries++
	data, err := json.Marshal(v)
	if err == nil { // strings and numbers do
		l.b.Write(data)
	}
}

// xml writes an element with elements of the names and texts.
func (l *lister) xml(element string, fields ...string) {
	l.b.WriteString("<" + element + ">")
	for i := 0; i < len(fields); i += 2 {
		l.b.WriteString("<" + fields[i] + ">" + escapeXML(fields[i+1]) + "</" + fields[i] + ">")
	}
	l.b.WriteString("</" + element + ">\n")
}

func (l *lister) subdir(name string) {
	switch {
	case l.kind == "application/json":
		l.json(map[string]string{"subdir": name})
	case l.isXML():
		l.b.WriteString(`<subdir name="` + escapeXML(name) + `"><name>` + escapeXML(name) + "</name></subdir>\n")
	default:
		l.b.WriteString(name + "\n")
	}
}

type containerRow struct {
	Name         string `json:"name"`
	Count        int64  `json:"count"`
	Bytes        int64  `json:"bytes"`
	LastModified string `json:"last_modified"`
	Policy       string `json:"storage_policy"`
}

func (l *lister) container(e *objectstore.ContainerEntry) {
	if e.Container == nil {
		l.subdir(e.Prefix)
		return
	}
	row := containerRow{e.Name, e.Objects, e.Bytes + e.VersionBytes, isoTime(e.UpdatedAt), policy}
	switch {
	case l.kind == "application/json":
		l.json(row)
	case l.isXML():
		l.xml("container", "name", row.Name, "count", strconv.FormatInt(row.Count, 10), "bytes", strconv.FormatInt(row.Bytes, 10),
			"last_modified", row.LastModified, "storage_policy", row.Policy)
	default:
		l.b.WriteString(row.Name + "\n")
	}
}

type objectRow struct {
	Name         string `json:"name"`
	Hash         string `json:"hash"`
	Bytes        int64  `json:"bytes"`
	ContentType  string `json:"content_type"`
	LastModified string `json:"last_modified"`
	SLOETag      string `json:"slo_etag,omitempty"`
	LinkPath     string `json:"symlink_path,omitempty"`
	LinkETag     string `json:"symlink_etag,omitempty"`
	LinkBytes    *int64 `json:"symlink_bytes,omitempty"`
	VersionID    string `json:"version_id,omitempty"`
	IsLatest     *bool  `json:"is_latest,omitempty"`
}

func (l *lister) object(q *request, e *objectstore.Entry) {
	if e.Object == nil {
		l.subdir(e.Prefix)
		return
	}
	row := l.row(q, e.Object)
	switch {
	case l.kind == "application/json":
		l.json(row)
	case l.isXML():
		l.xml("object", "name", row.Name, "hash", row.Hash, "bytes", strconv.FormatInt(row.Bytes, 10),
			"content_type", row.ContentType, "last_modified", row.LastModified)
	default:
		l.b.WriteString(row.Name + "\n")
	}
}

// row is an object as listings show it: a static large object with the size of all of it, and a link with where it leads.
func (l *lister) row(q *request, o *objectstore.Object) objectRow {
	row := objectRow{Name: o.Name, Hash: o.ETag, Bytes: o.Size, ContentType: o.ContentType, LastModified: isoTime(o.ChangedAt)}
	if l.versions {
		row.VersionID, row.IsLatest = versionID(o), &o.Current
	}
	switch {
	case o.DeleteMarker:
		row.Hash, row.ContentType = emptyMD5, markerKind
	case len(o.Segments) > 0:
		row.Bytes, row.SLOETag = o.Length(), `"`+o.EntityTag()+`"`
	case o.Link != nil:
		account := q.path.Account
		if o.Link.Account != "" {
			account = o.Link.Account
		}
		row.Hash = emptyMD5
		row.LinkPath = "/v1/" + escapePath(reseller+account+"/"+o.Link.Container+"/"+o.Link.Object)
		if o.Link.ETag != "" {
			row.LinkETag, row.LinkBytes = o.Link.ETag, &o.Link.Size
		}
	}
	return row
}

// versionID is how a client names the version.
func versionID(o *objectstore.Object) string {
	if o.Version == "" {
		return "null"
	}
	return o.Version
}
