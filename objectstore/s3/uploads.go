package s3

import (
	"encoding/xml"
	"net/http"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// maxParts is the highest number of a part.
const maxParts = 10000

// checksumFields are an object's or a part's checksums in a document.
type checksumFields struct {
	CRC32     string `xml:"ChecksumCRC32,omitempty"`
	CRC32C    string `xml:"ChecksumCRC32C,omitempty"`
	CRC64NVME string `xml:"ChecksumCRC64NVME,omitempty"`
	SHA1      string `xml:"ChecksumSHA1,omitempty"`
	SHA256    string `xml:"ChecksumSHA256,omitempty"`
}

func checksumsOf(sums map[string]string) checksumFields {
	return checksumFields{sums["CRC32"], sums["CRC32C"], sums["CRC64NVME"], sums["SHA1"], sums["SHA256"]}
}

// sums are the checksums by their algorithms' names.
func (c checksumFields) sums() map[string]string {
	sums := map[string]string{}
	for name, sum := range map[string]string{"CRC32": c.CRC32, "CRC32C": c.CRC32C, "CRC64NVME": c.CRC64NVME, "SHA1": c.SHA1, "SHA256": c.SHA256} {
		if sum != "" {
			sums[name] = sum
		}
	}
	return sums
}

type createUploadResult struct {
	XMLName     xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ InitiateMultipartUploadResult"`
	Bucket, Key string
	UploadID    string `xml:"UploadId"`
}

func (a *api) createUpload(q *request) error {
	info, err := objectInfo(q.Header)
	if err != nil {
		return err
	}
	if err := a.objectACL(q); err != nil {
		return err
	}
	u, err := a.objects.CreateUpload(q.Context(), q.caller, q.path, info)
	if err != nil {
		return err
	}
	if name := q.Header.Get("X-Amz-Checksum-Algorithm"); name != "" {
		q.w.Header().Set("X-Amz-Checksum-Algorithm", name)
	}
	return writeXML(q.w, http.StatusOK, createUploadResult{Bucket: q.path.Container, Key: q.path.Object, UploadID: u.ID})
}

func (q *request) partNumber() (int, error) {
	n, err := parseCount(q.query.Get("partNumber"))
	if err != nil || n < 1 || n > maxParts {
		return 0, fail("InvalidArgument", "Part number must be an integer between 1 and %d, inclusive", maxParts).with("ArgumentName", "partNumber")
	}
	return int(n), nil
}

func (q *request) upload() string { return q.query.Get("uploadId") }

func (a *api) putPart(q *request) error {
	number, err := q.partNumber()
	if err != nil {
		return err
	}
	spec, err := q.putSpec()
	if err != nil {
		return err
	}
	part, err := a.objects.PutPart(q.Context(), q.caller, q.path, q.upload(), number, spec, q.body)
	if err != nil {
		return err
	}
	h := q.w.Header()
	h.Set("Etag", quoted(part.ETag))
	for i := range algorithms {
		if sum := part.Checksums[algorithms[i].name]; sum != "" {
			h.Set(algorithms[i].header, sum)
		}
	}
	h.Set("Content-Length", "0")
	q.w.WriteHeader(http.StatusOK)
	return nil
}

func (a *api) copyPart(q *request) error {
	number, err := q.partNumber()
	if err != nil {
		return err
	}
	from, err := q.copySource()
	if err != nil {
		return err
	}
	spec := objectstore.CopyPartSpec{Version: from.version, NullVersion: from.null}
	if spec.Conditions, err = conditions(q.Header, copyConditions); err != nil {
		return err
	}
	if text := q.Header.Get("X-Amz-Copy-Source-Range"); text != "" {
		if spec.First, spec.Last, err = copyRange(text); err != nil {
			return err
		}
		spec.Ranged = true
	}
	part, err := a.objects.CopyPart(q.Context(), q.caller, from.path, spec, q.path, q.upload(), number)
	if err != nil {
		return sourceMissing(err, from)
	}
	if from.version != "" {
		q.w.Header().Set("X-Amz-Copy-Source-Version-Id", from.version)
	}
	return writeXML(q.w, http.StatusOK, copyResult{
		XMLName: xml.Name{Space: namespace, Local: "CopyPartResult"}, LastModified: stamp(part.CreatedAt), ETag: quoted(part.ETag),
	})
}

// copyRange reads bytes=first-last, both of which are needed.
func copyRange(text string) (first, last int64, err error) {
	spec, found := strings.CutPrefix(text, "bytes=")
	from, to, dash := strings.Cut(spec, "-")
	first, err1 := parseDigits(from)
	last, err2 := parseDigits(to)
	if !found || !dash || err1 != nil || err2 != nil || last < first {
		return 0, 0, fail("InvalidArgument", "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy").
			with("ArgumentName", "x-amz-copy-source-range")
	}
	return first, last, nil
}

type partEntry struct {
	PartNumber   int
	LastModified string
	ETag         string
	Size         int64
	checksumFields
}

type listPartsResult struct {
	XMLName              xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListPartsResult"`
	Bucket, Key          string
	UploadID             string `xml:"UploadId"`
	Initiator, Owner     *owner
	StorageClass         string
	PartNumberMarker     int
	NextPartNumberMarker int `xml:",omitempty"`
	MaxParts             int
	EncodingType         string `xml:",omitempty"`
	IsTruncated          bool
	Parts                []partEntry `xml:"Part"`
}

func (a *api) listParts(q *request) error {
	limit, err := q.count("max-parts", maxKeys)
	if err != nil {
		return err
	}
	marker, err := q.count("part-number-marker", maxParts)
	if err != nil {
		return err
	}
	if !q.query.Has("part-number-marker") {
		marker = 0
	}
	encode, err := q.encoding()
	if err != nil {
		return err
	}
	_, parts, err := a.objects.Upload(q.Context(), q.caller, q.path, q.upload())
	if err != nil {
		return err
	}
	l := listing{encode: encode}
	answer := listPartsResult{
		Bucket: q.path.Container, Key: l.text(q.path.Object), UploadID: q.upload(), Initiator: q.ownerOf(), Owner: q.ownerOf(), StorageClass: "STANDARD",
		PartNumberMarker: marker, MaxParts: limit, EncodingType: l.encodingType(),
	}
	for _, p := range parts {
		if p.Number <= marker {
			continue
		}
		if len(answer.Parts) == limit {
			answer.IsTruncated = true
			break
		}
		answer.Parts = append(answer.Parts, partEntry{p.Number, stamp(p.CreatedAt), quoted(p.ETag), p.Size, checksumsOf(p.Checksums)})
	}
	if n := len(answer.Parts); answer.IsTruncated && n > 0 {
		answer.NextPartNumberMarker = answer.Parts[n-1].PartNumber
	}
	return writeXML(q.w, http.StatusOK, answer)
}

type uploadEntry struct {
	Key              string
	UploadID         string `xml:"UploadId"`
	Initiator, Owner *owner
	StorageClass     string
	Initiated        string
}

type listUploadsResult struct {
	XMLName            xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListMultipartUploadsResult"`
	Bucket             string
	KeyMarker          string
	UploadIDMarker     string `xml:"UploadIdMarker"`
	NextKeyMarker      string `xml:",omitempty"`
	NextUploadIDMarker string `xml:"NextUploadIdMarker,omitempty"`
	Prefix             string
	Delimiter          string `xml:",omitempty"`
	EncodingType       string `xml:",omitempty"`
	MaxUploads         int
	IsTruncated        bool
	Uploads            []uploadEntry `xml:"Upload"`
	CommonPrefixes     []commonPrefix
}

func (a *api) listUploads(q *request) error {
	l, err := q.listing()
	if err != nil {
		return err
	}
	if l.max, err = q.count("max-uploads", maxKeys); err != nil {
		return err
	}
	l.Marker, l.VersionMarker, l.Limit = q.query.Get("key-marker"), q.query.Get("upload-id-marker"), max(l.max, 1)
	found, err := a.objects.Uploads(q.Context(), q.caller, q.bucket(), l.Listing)
	if err != nil {
		return err
	}
	answer := listUploadsResult{
		Bucket: q.path.Container, KeyMarker: l.text(l.Marker), UploadIDMarker: l.VersionMarker, Prefix: l.text(l.Prefix),
		Delimiter: l.text(l.Delimiter), EncodingType: l.encodingType(), MaxUploads: l.max, IsTruncated: found.Truncated && l.max > 0,
	}
	for _, e := range found.Entries[:min(len(found.Entries), l.max)] {
		if e.Upload == nil {
			answer.CommonPrefixes = append(answer.CommonPrefixes, commonPrefix{l.text(e.Prefix)})
			answer.NextKeyMarker, answer.NextUploadIDMarker = l.text(e.Prefix), ""
			continue
		}
		answer.Uploads = append(answer.Uploads, uploadEntry{l.text(e.Name), e.ID, q.ownerOf(), q.ownerOf(), "STANDARD", stamp(e.CreatedAt)})
		answer.NextKeyMarker, answer.NextUploadIDMarker = l.text(e.Name), e.ID
	}
	if !answer.IsTruncated {
		answer.NextKeyMarker, answer.NextUploadIDMarker = "", ""
	}
	return writeXML(q.w, http.StatusOK, answer)
}

type completeRequest struct {
	XMLName xml.Name `xml:"CompleteMultipartUpload"`
	Parts   []struct {
		PartNumber int
		ETag       string
		checksumFields
	} `xml:"Part"`
}

type completeResult struct {
	XMLName               xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ CompleteMultipartUploadResult"`
	Location, Bucket, Key string
	ETag                  string
	checksumFields
}

func (a *api) completeUpload(q *request) error {
	var wish completeRequest
	if err := q.xml(&wish); err != nil {
		return err
	}
	if n := len(wish.Parts); n == 0 || n > maxParts {
		return fail("MalformedXML", "An upload has one to %d parts.", maxParts)
	}
	parts := make([]objectstore.CompletedPart, len(wish.Parts))
	for i, p := range wish.Parts {
		if i > 0 && p.PartNumber <= wish.Parts[i-1].PartNumber {
			return fail("InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number.")
		}
		parts[i] = objectstore.CompletedPart{Number: p.PartNumber, ETag: strings.Trim(p.ETag, `"`), Checksums: p.sums()}
	}
	c, err := writeConditions(q.Header)
	if err != nil {
		return err
	}
	if err := a.checkWhole(q, &wish); err != nil {
		return err
	}
	o, err := a.objects.CompleteUpload(q.Context(), q.caller, q.path, q.upload(), parts, c)
	if err != nil {
		return a.written(q, err, c)
	}
	if o.Version != "" {
		q.w.Header().Set("X-Amz-Version-Id", o.Version)
	}
	return writeXML(q.w, http.StatusOK, completeResult{
		Location: location(q), Bucket: q.path.Container, Key: q.path.Object, ETag: quoted(o.ETag), checksumFields: checksumsOf(o.Checksums),
	})
}

func location(q *request) string {
	scheme := "http"
	if q.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + q.Host + q.URL.EscapedPath()
}

func (a *api) abortUpload(q *request) error {
	if err := a.objects.AbortUpload(q.Context(), q.caller, q.path, q.upload()); err != nil {
		return err
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}
