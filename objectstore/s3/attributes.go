package s3

import (
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

type attributePart struct {
	PartNumber int
	Size       int64
	checksumFields
}

type attributeParts struct {
	PartsCount           int
	PartNumberMarker     int
	NextPartNumberMarker int
	MaxParts             int
	IsTruncated          bool
	Parts                []attributePart `xml:"Part"`
}

type attributes struct {
	XMLName      xml.Name        `xml:"http://s3.amazonaws.com/doc/2006-03-01/ GetObjectAttributesResponse"`
	ETag         string          `xml:",omitempty"`
	Checksum     *checksumFields `xml:",omitempty"`
	ObjectParts  *attributeParts `xml:",omitempty"`
	StorageClass string          `xml:",omitempty"`
	ObjectSize   *int64          `xml:",omitempty"`
}

func (a *api) getAttributes(q *request) error {
	spec := objectstore.OpenSpec{}
	var err error
	if spec.Version, spec.NullVersion, err = versionOf(q.query); err != nil {
		return err
	}
	wanted := strings.Join(q.Header.Values("X-Amz-Object-Attributes"), ",")
	if wanted == "" {
		return fail("InvalidRequest", "The x-amz-object-attributes header specifying the attributes to be retrieved is either missing or empty")
	}
	o, err := a.objects.Open(q.Context(), q.caller, q.path, spec)
	if err != nil {
		return missing(err, q)
	}
	var answer attributes
	for name := range strings.SplitSeq(wanted, ",") {
		switch strings.TrimSpace(name) {
		case "ETag":
			answer.ETag = o.ETag
		case "Checksum":
			if len(o.Object.Checksums) > 0 {
				sums := checksumsOf(o.Object.Checksums)
				answer.Checksum = &sums
			}
		case "ObjectParts":
			if answer.ObjectParts, err = q.attributeParts(o); err != nil {
				return err
			}
		case "StorageClass":
			answer.StorageClass = "STANDARD"
		case "ObjectSize":
			answer.ObjectSize = &o.Size
		default:
			return fail("InvalidArgument", "Invalid attribute name specified.").with("ArgumentName", "x-amz-object-attributes")
		}
	}
	h := q.w.Header()
	h.Set("Last-Modified", httpTime(o.Object.LastModified()))
	if o.Object.Version != "" {
		h.Set("X-Amz-Version-Id", o.Object.Version)
	}
	return writeXML(q.w, http.StatusOK, answer)
}

func (q *request) attributeParts(o *objectstore.Reader) (*attributeParts, error) {
	if o.Object.PartCount == 0 {
		return nil, nil
	}
	all, err := o.Parts(q.Context())
	if err != nil {
		return nil, err
	}
	limit, marker := int64(maxKeys), int64(0)
	for name, n := range map[string]*int64{"X-Amz-Max-Parts": &limit, "X-Amz-Part-Number-Marker": &marker} {
		text := q.Header.Get(name)
		if text == "" {
			continue
		}
		v, err := parseCount(text)
		if err != nil || v < 0 {
			return nil, fail("InvalidArgument", "%s is not a number of parts.", strings.ToLower(name)).with("ArgumentName", strings.ToLower(name))
		}
		*n = min(v, maxParts)
	}
	p := &attributeParts{PartsCount: len(all), PartNumberMarker: int(marker), MaxParts: int(min(limit, maxKeys))}
	for _, part := range all {
		if part.Number <= int(marker) {
			continue
		}
		if p.IsTruncated = len(p.Parts) == p.MaxParts; p.IsTruncated {
			break
		}
		p.Parts = append(p.Parts, attributePart{part.Number, part.Size, checksumsOf(part.Checksums)})
		p.NextPartNumberMarker = part.Number
	}
	return p, nil
}
