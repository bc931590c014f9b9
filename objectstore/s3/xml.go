package s3

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

const (
	namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
	// maxXML is the largest document that is read: a thousand keys to delete, or ten thousand parts.
	maxXML = 2 << 20
	// maxDepth is how deep its elements may be nested; S3's own go to six.
	maxDepth = 16
)

// decodeXML reads a document into v. Its size and depth are bounded; directives (which could declare entities), and
// instructions besides the declaration, are refused. Elements may have S3's namespace or none.
func decodeXML(data []byte, v any) error {
	if len(data) > maxXML {
		return fail("MaxMessageLengthExceeded", "The document is too large.")
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return fail("MalformedXML", "The request has no document.")
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	d.Entity = nil
	if err := xml.NewTokenDecoder(&boundedTokens{d: d}).Decode(v); err != nil {
		return malformed(err)
	}
	return nil
}

func malformed(err error) error {
	var own *apiError
	if errors.As(err, &own) {
		return own
	}
	return fail("MalformedXML", "The XML is not well-formed or not what the operation takes: %s", err)
}

// boundedTokens yields the tokens of documents that are shallow and plain.
type boundedTokens struct {
	d     *xml.Decoder
	depth int
}

func (b *boundedTokens) Token() (xml.Token, error) {
	t, err := b.d.RawToken()
	if err != nil {
		return nil, err
	}
	switch e := t.(type) {
	case xml.StartElement:
		if b.depth++; b.depth > maxDepth {
			return nil, errors.New("elements are nested too deep")
		}
		for i := range e.Attr {
			// xsi:type, which ACLs have, would need its namespace declared; no document here has attributes that count.
			e.Attr[i].Name.Space = ""
		}
		return xml.StartElement{Name: xml.Name{Local: e.Name.Local}, Attr: e.Attr}, nil
	case xml.EndElement:
		b.depth--
		return xml.EndElement{Name: xml.Name{Local: e.Name.Local}}, nil
	case xml.Directive:
		return nil, errors.New("directives are not allowed")
	}
	return t, nil
}

// writeXML answers with v as a document.
func writeXML(w http.ResponseWriter, status int, v any) error {
	data, err := xml.Marshal(v)
	if err != nil {
		return err
	}
	return writeRaw(w, status, string(data))
}

// writeRaw answers with a document that is written already.
func writeRaw(w http.ResponseWriter, status int, document string) error {
	h := w.Header()
	h.Set("Content-Type", "application/xml")
	h.Set("Content-Length", strconv.Itoa(len(xml.Header)+len(document)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, xml.Header+document) // a client that has gone cannot be told
	return nil
}

// stamp is a time as S3's documents have it, in milliseconds.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// httpTime is a time as headers have it; it is in whole seconds.
func httpTime(t time.Time) string { return t.UTC().Format(http.TimeFormat) }

func quoted(etag string) string { return `"` + etag + `"` }
