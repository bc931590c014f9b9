package s3

import (
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"unicode/utf8"

	"github.com/kintoun/kintoun/objectstore"
)

// maxKeys is the longest page.
const maxKeys = 1000

type listEntry struct {
	Key, LastModified, ETag string
	ChecksumAlgorithm       []string `xml:",omitempty"`
	Size                    int64
	Owner                   *owner `xml:",omitempty"`
	StorageClass            string
}

type commonPrefix struct{ Prefix string }

// listing is what all lists of keys are asked for.
type listing struct {
	objectstore.Listing
	encode bool
	max    int
}

func (q *request) listing() (l listing, err error) {
	if l.encode, err = q.encoding(); err != nil {
		return l, err
	}
	if l.max, err = q.count("max-keys", maxKeys); err != nil {
		return l, err
	}
	l.Prefix, l.Delimiter, l.Limit = q.query.Get("prefix"), q.query.Get("delimiter"), l.max
	for _, text := range []string{l.Prefix, l.Delimiter} {
		if !utf8.ValidString(text) {
			return l, fail("InvalidArgument", "Keys are in UTF-8.")
		}
	}
	return l, nil
}

func (q *request) encoding() (bool, error) {
	switch q.query.Get("encoding-type") {
	case "":
		return false, nil
	case "url":
		return true, nil
	}
	return false, fail("InvalidArgument", "Invalid Encoding Method specified in Request").with("ArgumentName", "encoding-type")
}

// count reads how long a page may be.
func (q *request) count(name string, most int) (int, error) {
	if q.query.Get(name) == "" {
		return most, nil
	}
	n, err := parseCount(q.query.Get(name))
	if err != nil || n < 0 || n > 1<<31-1 {
		return 0, fail("InvalidArgument", "Argument %s must be an integer between 0 and 2147483647", name).with("ArgumentName", name)
	}
	return int(min(n, int64(most))), nil
}

// text is a key as the client wants it.
func (l *listing) text(key string) string {
	if l.encode {
		return escape(key, true)
	}
	return key
}

func (l *listing) encodingType() string {
	if l.encode {
		return "url"
	}
	return ""
}

// page is what a list shows.
type page struct {
	contents []listEntry
	prefixes []commonPrefix
	last     string // the key or prefix that the page ends with
	more     bool
}

func (a *api) page(q *request, l *listing, withOwner bool) (p page, err error) {
	if l.max == 0 {
		// Whether there is such a bucket is said all the same.
		_, err := a.objects.Container(q.Context(), q.caller, q.bucket())
		return p, err
	}
	found, err := a.objects.Objects(q.Context(), q.caller, q.bucket(), l.Listing)
	if err != nil {
		return p, err
	}
	p.more = found.Truncated
	for _, e := range found.Entries {
		if e.Object == nil {
			p.prefixes = append(p.prefixes, commonPrefix{l.text(e.Prefix)})
			p.last = e.Prefix
			continue
		}
		entry := listEntry{Key: l.text(e.Name), LastModified: stamp(e.LastModified()), ETag: quoted(e.EntityTag()), Size: e.Length(), StorageClass: "STANDARD"}
		for name := range e.Checksums {
			entry.ChecksumAlgorithm = append(entry.ChecksumAlgorithm, name)
		}
		if withOwner {
			entry.Owner = q.ownerOf()
		}
		p.contents = append(p.contents, entry)
		p.last = e.Name
	}
	return p, nil
}

type listResult struct {
	XMLName        xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListBucketResult"`
	Name, Prefix   string
	Marker         *string
	NextMarker     string `xml:",omitempty"`
	MaxKeys        int
	Delimiter      string `xml:",omitempty"`
	EncodingType   string `xml:",omitempty"`
	IsTruncated    bool
	Contents       []listEntry
	CommonPrefixes []commonPrefix
	// These are version 2's.
	KeyCount                                 *int
	ContinuationToken, NextContinuationToken string `xml:",omitempty"`
	StartAfter                               string `xml:",omitempty"`
}

func (a *api) listObjects(q *request) error {
	l, err := q.listing()
	if err != nil {
		return err
	}
	l.Marker = q.query.Get("marker")
	p, err := a.page(q, &l, true)
	if err != nil {
		return err
	}
	marker := l.text(l.Marker)
	answer := listResult{
		Name: q.path.Container, Prefix: l.text(l.Prefix), Marker: &marker, MaxKeys: l.max, Delimiter: l.text(l.Delimiter),
		EncodingType: l.encodingType(), IsTruncated: p.more, Contents: p.contents, CommonPrefixes: p.prefixes,
	}
	if p.more && l.Delimiter != "" {
		answer.NextMarker = l.text(p.last)
	}
	return writeXML(q.w, http.StatusOK, answer)
}

func (a *api) listObjectsV2(q *request) error {
	if q.query.Get("list-type") != "2" {
		return fail("InvalidArgument", "list-type is 2, or is not there.")
	}
	l, err := q.listing()
	if err != nil {
		return err
	}
	token := q.query.Get("continuation-token")
	if q.query.Has("continuation-token") && token == "" {
		return fail("InvalidArgument", "The continuation token provided is incorrect").with("ArgumentName", "continuation-token")
	}
	l.Marker = q.query.Get("start-after")
	if token != "" {
		if l.Marker, err = readToken(token); err != nil {
			return err
		}
	}
	p, err := a.page(q, &l, q.query.Get("fetch-owner") == "true")
	if err != nil {
		return err
	}
	count := len(p.contents) + len(p.prefixes)
	answer := listResult{
		Name: q.path.Container, Prefix: l.text(l.Prefix), MaxKeys: l.max, Delimiter: l.text(l.Delimiter), EncodingType: l.encodingType(),
		IsTruncated: p.more, Contents: p.contents, CommonPrefixes: p.prefixes, KeyCount: &count, ContinuationToken: token,
		StartAfter: l.text(q.query.Get("start-after")),
	}
	if p.more {
		answer.NextContinuationToken = makeToken(p.last)
	}
	return writeXML(q.w, http.StatusOK, answer)
}

// A continuation token is the key where the page before ended, so that it is good at every server and after every restart.
func makeToken(key string) string { return base64.URLEncoding.EncodeToString([]byte(key)) }

func readToken(token string) (string, error) {
	key, err := base64.URLEncoding.DecodeString(token)
	if err != nil || !utf8.Valid(key) {
		return "", fail("InvalidArgument", "The continuation token provided is incorrect").with("ArgumentName", "continuation-token")
	}
	return string(key), nil
}

type versionEntry struct {
	XMLName           xml.Name
	Key               string
	VersionID         string `xml:"VersionId"`
	IsLatest          bool
	LastModified      string
	ETag              string   `xml:",omitempty"`
	ChecksumAlgorithm []string `xml:",omitempty"`
	Size              *int64
	StorageClass      string `xml:",omitempty"`
	Owner             *owner
}

type versionsResult struct {
	XMLName             xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListVersionsResult"`
	Name, Prefix        string
	KeyMarker           string
	VersionIDMarker     string `xml:"VersionIdMarker"`
	NextKeyMarker       string `xml:",omitempty"`
	NextVersionIDMarker string `xml:"NextVersionIdMarker,omitempty"`
	MaxKeys             int
	Delimiter           string `xml:",omitempty"`
	EncodingType        string `xml:",omitempty"`
	IsTruncated         bool
	Versions            []versionEntry
	CommonPrefixes      []commonPrefix
}

// nullVersion is what the version is called that was written without versioning.
const nullVersion = "null"

func versionName(version string) string {
	if version == "" {
		return nullVersion
	}
	return version
}

func (a *api) listVersions(q *request) error {
	l, err := q.listing()
	if err != nil {
		return err
	}
	l.Marker, l.VersionMarker = q.query.Get("key-marker"), q.query.Get("version-id-marker")
	if l.Marker == "" && l.VersionMarker != "" {
		return fail("InvalidArgument", "A version-id marker cannot be specified without a key marker.").with("ArgumentName", "version-id-marker")
	}
	answer := versionsResult{
		Name: q.path.Container, Prefix: l.text(l.Prefix), KeyMarker: l.text(l.Marker), VersionIDMarker: l.VersionMarker,
		MaxKeys: l.max, Delimiter: l.text(l.Delimiter), EncodingType: l.encodingType(),
	}
	if l.max == 0 {
		if _, err := a.objects.Container(q.Context(), q.caller, q.bucket()); err != nil {
			return err
		}
		return writeXML(q.w, http.StatusOK, answer)
	}
	found, err := a.objects.Versions(q.Context(), q.caller, q.bucket(), l.Listing)
	if err != nil {
		return err
	}
	answer.IsTruncated = found.Truncated
	for _, e := range found.Entries {
		if e.Object == nil {
			answer.CommonPrefixes = append(answer.CommonPrefixes, commonPrefix{l.text(e.Prefix)})
			answer.NextKeyMarker, answer.NextVersionIDMarker = l.text(e.Prefix), ""
			continue
		}
		answer.Versions = append(answer.Versions, q.version(&l, e.Object))
		answer.NextKeyMarker, answer.NextVersionIDMarker = l.text(e.Name), versionName(e.Version)
	}
	if !answer.IsTruncated {
		answer.NextKeyMarker, answer.NextVersionIDMarker = "", ""
	}
	return writeXML(q.w, http.StatusOK, answer)
}

func (q *request) version(l *listing, o *objectstore.Object) versionEntry {
	v := versionEntry{
		XMLName: xml.Name{Local: "Version"}, Key: l.text(o.Name), VersionID: versionName(o.Version), IsLatest: o.Current,
		LastModified: stamp(o.LastModified()), Owner: q.ownerOf(),
	}
	if o.DeleteMarker {
		v.XMLName.Local = "DeleteMarker"
		return v
	}
	size := o.Length()
	v.ETag, v.Size, v.StorageClass = quoted(o.EntityTag()), &size, "STANDARD"
	for name := range o.Checksums {
		v.ChecksumAlgorithm = append(v.ChecksumAlgorithm, name)
	}
	return v
}
