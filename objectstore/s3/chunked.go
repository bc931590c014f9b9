package s3

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Bounds of what stands between the chunks of a body.
const (
	maxChunkLine = 512
	maxTrailers  = 16
	// maxChunk is the largest chunk. Chunks are not held in memory, but a signature tells nothing before its chunk's end.
	maxChunk = 5 << 30
)

var emptyHash = hex.EncodeToString(sha256.New().Sum(nil)) // of nothing

// chunkReader decodes a body in Amazon's chunks ("aws-chunked"): each has its size in hexadecimal digits and, when it is
// signed, a signature that covers the one before it; the last is empty, and trailers may follow. See "Signature calculations
// for the Authorization header: transferring payload in multiple chunks" in S3's API reference. Data is handed on as it
// comes, and the end of file only when every signature held.
type chunkReader struct {
	r    *bufio.Reader
	left int64 // of the chunk
	// sign is nil for an unsigned body.
	sign     *chunkSigner
	want     string // the chunk's signature
	sum      hash.Hash
	trailing bool // trailers may follow
	trailer  http.Header
	err      error
}

// chunkSigner chains the signatures of chunks.
type chunkSigner struct {
	key                   []byte
	date, scope, previous string
}

// next returns the signature of what has that hash.
func (s *chunkSigner) next(kind, hashed string) string {
	text := "AWS4-HMAC-SHA256-" + kind + "\n" + s.date + "\n" + s.scope + "\n" + s.previous + "\n"
	if kind == "PAYLOAD" {
		text += emptyHash + "\n"
	}
	s.previous = hex.EncodeToString(hmacSHA256(s.key, text+hashed))
	return s.previous
}

func newChunkReader(r io.Reader, sign *chunkSigner, trailing bool) *chunkReader {
	c := &chunkReader{r: bufio.NewReaderSize(r, 64<<10), sign: sign, trailing: trailing, trailer: http.Header{}}
	if sign != nil {
		c.sum = sha256.New()
	}
	return c
}

func (c *chunkReader) Read(p []byte) (int, error) {
	if c.err != nil || len(p) == 0 {
		return 0, c.err
	}
	n, err := c.read(p)
	c.err = err
	return n, err
}

func (c *chunkReader) read(p []byte) (int, error) {
	if c.left == 0 {
		last, err := c.begin()
		if err != nil {
			return 0, err
		}
		if last {
			return 0, c.end()
		}
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if c.sum != nil {
		_, _ = c.sum.Write(p[:n]) // a hash never fails
	}
	if err == nil && c.left == 0 {
		err = c.finish()
	}
	return n, cut(err)
}

// begin reads the line before a chunk.
func (c *chunkReader) begin() (last bool, err error) {
	line, err := c.line()
	if err != nil {
		return false, cut(err)
	}
	size, extension, signed := strings.Cut(line, ";")
	c.left, err = strconv.ParseInt(strings.TrimSpace(size), 16, 64)
	if err != nil || c.left < 0 || c.left > maxChunk {
		return false, fail("InvalidChunkSizeError", "%.40q is not the size of a chunk.", size)
	}
	if c.want = ""; signed {
		name, value, _ := strings.Cut(strings.TrimSpace(extension), "=")
		if name == "chunk-signature" {
			c.want = value
		}
	}
	if c.sign != nil {
		c.sum.Reset()
	}
	return c.left == 0, nil
}

// finish checks the chunk and the line that ends it.
func (c *chunkReader) finish() error {
	if err := c.check(); err != nil {
		return err
	}
	if line, err := c.line(); err != nil {
		return cut(err)
	} else if line != "" {
		return fail("IncompleteBody", "A chunk is longer than it says.")
	}
	return nil
}

func (c *chunkReader) check() error {
	if c.sign == nil {
		return nil
	}
	if got := c.sign.next("PAYLOAD", hex.EncodeToString(c.sum.Sum(nil))); !hmac.Equal([]byte(got), []byte(c.want)) {
		return fail("SignatureDoesNotMatch", "The signature of a chunk is not that of its data.")
	}
	return nil
}

// end checks the empty chunk and reads the trailers; there must be nothing behind them. Its io.EOF is the good end.
func (c *chunkReader) end() error {
	if err := c.check(); err != nil {
		return err
	}
	if err := c.trailers(); err != nil {
		return err
	}
	return c.nothingMore()
}

// nothingMore allows for an empty line, which some clients end with.
func (c *chunkReader) nothingMore() error {
	for n := 0; ; n++ {
		b, err := c.r.ReadByte()
		if err != nil {
			return err
		}
		if b != '\r' && b != '\n' || n == len("\r\n") {
			return fail("InvalidRequest", "The body goes on behind its last chunk.")
		}
	}
}

func (c *chunkReader) trailers() error {
	var covered strings.Builder
	signature := ""
	for n := 0; ; n++ {
		line, err := c.line()
		if errors.Is(err, io.EOF) && (n > 0 || !c.trailing) {
			break // some clients leave out the last empty line
		}
		if err != nil {
			return cut(err)
		}
		if line == "" {
			if c.sign != nil && c.trailing && signature == "" && n < maxTrailers {
				continue // the signature stands behind an empty line
			}
			break
		}
		name, value, found := strings.Cut(line, ":")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !found || name == "" || !c.trailing || n == maxTrailers {
			return fail("MalformedTrailerError", "The trailers of the body are not well-formed.")
		}
		if name == "x-amz-trailer-signature" {
			signature = value
			continue
		}
		covered.WriteString(name + ":" + value + "\n")
		c.trailer.Add(name, value)
	}
	if c.sign == nil || !c.trailing {
		return nil
	}
	sum := sha256.Sum256([]byte(covered.String()))
	if got := c.sign.next("TRAILER", hex.EncodeToString(sum[:])); !hmac.Equal([]byte(got), []byte(signature)) {
		return fail("SignatureDoesNotMatch", "The signature of the trailers is not theirs.")
	}
	return nil
}

// cut says that the body ended where it must not.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// line reads a line without its end.
func (c *chunkReader) line() (string, error) {
	var line []byte
	for {
		b, err := c.r.ReadByte()
		if err != nil {
			return "", err
		}
		if b == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		if line = append(line, b); len(line) > maxChunkLine {
			return "", fail("IncompleteBody", "A line between the chunks of the body is too long.")
		}
	}
}
