package swift

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// The bounds on the ranges of one request; more of them are not satisfied (RFC 9110, section 14.2, and Swift's numbers).
const (
	maxRanges           = 50
	maxRangeOverlaps    = 2
	maxUnorderedRanges  = 8
	maxRangeHeaderBytes = 8192
)

// span are bytes of a content, from offset on.
type span struct{ offset, length int64 }

// parseRange reads a Range header for a content of the size (RFC 9110, section 14.1.2). What is malformed, or of other
// units, is ok=false: the header is then ignored. No spans and ok are a request that cannot be satisfied.
func parseRange(header string, size int64) (spans []span, ok bool) {
	header = strings.ReplaceAll(header, " ", "")
	if len(header) < 6 || !strings.EqualFold(header[:6], "bytes=") || len(header) > maxRangeHeaderBytes {
		return nil, false
	}
	for _, text := range strings.Split(header[6:], ",") {
		first, last, hyphen := strings.Cut(text, "-")
		if !hyphen || first == "" && last == "" {
			return nil, false
		}
		from, until, valid := bounds(first, last)
		if !valid {
			return nil, false
		}
		switch {
		case first == "": // the last bytes
			if n := min(until, size); n > 0 {
				spans = append(spans, span{size - n, n})
			}
		case from >= size:
		case last == "" || until >= size:
			spans = append(spans, span{from, size - from})
		default:
			spans = append(spans, span{from, until - from + 1})
		}
	}
	if storm(spans) {
		return nil, true
	}
	return spans, true
}

func bounds(first, last string) (from, until int64, ok bool) {
	var err error
	for _, n := range []struct {
		text string
		to   *int64
	}{{first, &from}, {last, &until}} {
		if n.text == "" {
			continue
		}
		if strings.Trim(n.text, "0123456789") != "" {
			return 0, 0, false
		}
		if *n.to, err = strconv.ParseInt(n.text, 10, 64); err != nil {
			*n.to = 1<<63 - 1 // too many digits for any content
		}
	}
	return from, until, first == "" || last == "" || until >= from
}

// storm says whether the spans cost more than they can be worth.
func storm(spans []span) bool {
	if len(spans) > maxRanges {
		return true
	}
	overlaps, ordered := 0, true
	for i, a := range spans {
		if i > 0 && a.offset < spans[i-1].offset {
			ordered = false
		}
		for _, b := range spans[i+1:] {
			if a.offset < b.offset+b.length && b.offset < a.offset+a.length {
				overlaps++
			}
		}
	}
	return overlaps > maxRangeOverlaps || !ordered && len(spans) >= maxUnorderedRanges
}

func (s span) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.offset, s.offset+s.length-1, size)
}

// parts writes several spans as one body (RFC 9110, section 14.6).
type parts struct {
	spans    []span
	size     int64
	kind     string
	boundary string
}

func newParts(spans []span, size int64, kind string) *parts {
	var random [16]byte
	_, _ = rand.Read(random[:]) // never fails
	return &parts{spans: spans, size: size, kind: kind, boundary: hex.EncodeToString(random[:])}
}

func (p *parts) head(s span) string {
	return "--" + p.boundary + "\r\nContent-Type: " + p.kind + "\r\nContent-Range: " + s.contentRange(p.size) + "\r\n\r\n"
}

func (p *parts) length() int64 {
	n := int64(len(p.boundary)) + 4
	for _, s := range p.spans {
		n += int64(len(p.head(s))) + s.length + 2
	}
	return n
}

func (p *parts) header(h http.Header) {
	h.Set("Content-Type", "multipart/byteranges;boundary="+p.boundary)
	h.Set("Content-Length", strconv.FormatInt(p.length(), 10))
}

// write writes the body; each writes the bytes of one span.
func (p *parts) write(w io.Writer, each func(span) error) error {
	for _, s := range p.spans {
		if _, err := io.WriteString(w, p.head(s)); err != nil {
			return err
		}
		if err := each(s); err != nil {
			return err
		}
		if _, err := io.WriteString(w, "\r\n"); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, "--"+p.boundary+"--")
	return err
}
