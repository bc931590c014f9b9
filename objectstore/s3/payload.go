package s3

import (
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // a checksum that clients know
	"crypto/sha1" //nolint:gosec // likewise
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/objectstore"
)

// algorithm is a checksum that clients can ask for.
type algorithm struct {
	// Name is as documents have it ("CRC32C"); header is "x-amz-checksum-crc32c".
	name, header string
	make         func() hash.Hash
}

// nvme is the polynomial of the NVM Express specification's CRC-64, reversed.
const nvme = 0x9a6c9329ac4bc9b5

var algorithms = []algorithm{
	{"CRC32", "x-amz-checksum-crc32", func() hash.Hash { return crc32.NewIEEE() }},
	{"CRC32C", "x-amz-checksum-crc32c", func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) }},
	{"CRC64NVME", "x-amz-checksum-crc64nvme", func() hash.Hash { return crc64.New(crc64.MakeTable(nvme)) }},
	{"SHA1", "x-amz-checksum-sha1", sha1.New},
	{"SHA256", "x-amz-checksum-sha256", sha256.New},
}

func algorithmBy(match func(*algorithm) bool) *algorithm {
	for i := range algorithms {
		if match(&algorithms[i]) {
			return &algorithms[i]
		}
	}
	return nil
}

// payload is a request's body as the client meant it: out of its chunks, and with what is to be checked at its end.
type payload struct {
	src io.Reader
	// size is the number of bytes, or negative if the client did not say.
	size, read int64
	chunks     *chunkReader
	// sha256 is the hash that was signed, in hexadecimal digits; empty for none.
	sha256 string
	sum    hash.Hash
	// algorithm is the checksum besides; expect is what it must be, unless the trailers say.
	algorithm *algorithm
	expect    string
	check     hash.Hash
	checked   error
	done      bool
}

// openBody prepares q.body.
func (a *api) openBody(q *request, signed string, signer *chunkSigner) error {
	p := &payload{src: &patientReader{q.Body, http.NewResponseController(q.w), a.options.Idle}, size: q.ContentLength}
	q.body = p
	switch {
	case signed == unsignedPayload:
	case strings.HasPrefix(signed, "STREAMING-"):
		if err := p.stream(q.Header, signed, signer); err != nil {
			return err
		}
	default:
		if raw, err := hex.DecodeString(signed); err != nil || len(raw) != sha256.Size {
			return fail("InvalidArgument", "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-UNSIGNED-PAYLOAD-TRAILER, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER or a valid sha256 value.")
		}
		p.sha256, p.sum = strings.ToLower(signed), sha256.New()
	}
	if q.operation.Name == "CompleteMultipartUpload" {
		return nil // a checksum there is the object's, not the document's
	}
	return p.checksums(q.Header)
}

func (p *payload) stream(h http.Header, signed string, signer *chunkSigner) error {
	trailing := strings.HasSuffix(signed, "-TRAILER")
	switch signed {
	case "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER":
		if signer == nil {
			return fail("InvalidRequest", "The chunks of the body cannot be signed where the request is not.")
		}
	case "STREAMING-UNSIGNED-PAYLOAD-TRAILER":
		signer = nil
	default:
		return fail("NotImplemented", "The payload %.60q is not supported.", signed)
	}
	size, err := parseCount(h.Get("X-Amz-Decoded-Content-Length"))
	if err != nil || size < 0 {
		return fail("MissingContentLength", "A body in chunks needs the header x-amz-decoded-content-length.")
	}
	p.chunks = newChunkReader(p.src, signer, trailing)
	p.src, p.size = p.chunks, size
	return nil
}

// checksums finds the one that the client gave, in a header or to come in the trailers.
func (p *payload) checksums(h http.Header) error {
	for i := range algorithms {
		a := &algorithms[i]
		value := h.Get(a.header)
		trailing := slices.ContainsFunc(h.Values("X-Amz-Trailer"), func(v string) bool { return strings.EqualFold(strings.TrimSpace(v), a.header) })
		if value == "" && !trailing {
			continue
		}
		if p.algorithm != nil {
			return fail("InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
		}
		if trailing && (p.chunks == nil || !p.chunks.trailing) {
			return fail("InvalidRequest", "x-amz-trailer is for bodies in chunks with trailers.")
		}
		if !trailing && !isSum(a, value) {
			return fail("InvalidRequest", "Value for %s header is invalid.", a.header)
		}
		p.algorithm, p.expect, p.check = a, value, a.make()
	}
	return nil
}

func isSum(a *algorithm, value string) bool {
	raw, err := base64.StdEncoding.DecodeString(value)
	return err == nil && len(raw) == a.make().Size()
}

// Read yields the body, and the end of file only when everything held.
func (p *payload) Read(b []byte) (int, error) {
	n, err := p.src.Read(b)
	if p.size >= 0 && p.read+int64(n) > p.size {
		n, err = int(p.size-p.read), fail("IncompleteBody", "The body is longer than the announced number of bytes.")
	}
	p.read += int64(n)
	if p.sum != nil {
		_, _ = p.sum.Write(b[:n]) // a hash never fails
	}
	if p.check != nil {
		_, _ = p.check.Write(b[:n])
	}
	if err == io.EOF { //nolint:errorlint // as io.Reader has it
		if held := p.held(); held != nil {
			return n, held
		}
	}
	return n, err
}

// held says whether the body is what the client said, once.
func (p *payload) held() error {
	if p.done {
		return p.checked
	}
	p.done = true
	p.checked = p.compare()
	return p.checked
}

func (p *payload) compare() error {
	if p.size >= 0 && p.read != p.size {
		return fail("IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header.")
	}
	if p.sum != nil && !hmac.Equal([]byte(hex.EncodeToString(p.sum.Sum(nil))), []byte(p.sha256)) {
		return fail("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match what was computed.")
	}
	if p.check == nil {
		return nil
	}
	if p.expect == "" {
		if p.expect = p.chunks.trailer.Get(p.algorithm.header); !isSum(p.algorithm, p.expect) {
			return fail("MalformedTrailerError", "The trailer %s is missing or is no checksum.", p.algorithm.header)
		}
	}
	if base64.StdEncoding.EncodeToString(p.check.Sum(nil)) != p.expect {
		return fail("BadDigest", "The %s you specified did not match the calculated checksum.", p.algorithm.name)
	}
	return nil
}

// verify is for [objectstore.PutSpec]: the body has been read, up to its announced size at least.
func (p *payload) verify(info *objectstore.ObjectInfo) error {
	if !p.done {
		if _, err := io.Copy(io.Discard, p); err != nil {
			return err
		}
	}
	if err := p.held(); err != nil {
		return err
	}
	if p.algorithm != nil {
		info.Checksums = map[string]string{p.algorithm.name: p.expect}
	}
	return nil
}

// document reads a body that is a document and checks it, Content-MD5 too.
func (q *request) document() ([]byte, error) {
	want, err := contentMD5(q.Header)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(q.body, maxXML+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxXML {
		return nil, fail("MaxMessageLengthExceeded", "The document is too large.")
	}
	if sum := md5.Sum(data); want != "" && hex.EncodeToString(sum[:]) != want { //nolint:gosec // what Content-MD5 is
		return nil, fail("BadDigest", "The Content-MD5 you specified did not match what we received.")
	}
	return data, nil
}

// xml reads the body into v.
func (q *request) xml(v any) error {
	data, err := q.document()
	if err != nil {
		return err
	}
	return decodeXML(data, v)
}

// contentMD5 is the header in hexadecimal digits; empty for none.
func contentMD5(h http.Header) (string, error) {
	if len(h.Values("Content-Md5")) == 0 {
		return "", nil
	}
	raw, err := base64.StdEncoding.DecodeString(h.Get("Content-Md5"))
	if err != nil || len(raw) != md5.Size {
		return "", fail("InvalidDigest", "The Content-MD5 you specified is not valid.")
	}
	return hex.EncodeToString(raw), nil
}

// patientReader reads a body that may take as long as it wants, while it moves.
type patientReader struct {
	body    io.Reader
	control *http.ResponseController
	idle    time.Duration
}

// Read gives the client more time. Where the server cannot, its own limits hold.
func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(p.idle))
	return p.body.Read(b)
}
