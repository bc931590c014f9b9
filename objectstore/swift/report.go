package swift

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// report is what Swift answers after many operations in one request: the status that counts is in the body.
type report struct {
	kind, root string
	code       int
	body       string
	numbers    map[string]int
	// errors are percent-encoded names and what went wrong with them.
	errors [][2]string
	// extra are other lines.
	extra map[string]string
}

// reportTypes are the media types that reports come in; the first is the default.
func reportTypes() []string {
	return []string{"text/plain", "application/json", "application/xml", "text/xml"}
}

func newReport(kind, root string, code int) *report {
	return &report{kind: kind, root: root, code: code, numbers: map[string]int{}, extra: map[string]string{}}
}

// failed notes that an operation failed, with the status that it would have had alone.
func (r *report) failed(name string, code int) {
	r.errors = append(r.errors, [2]string{escapePath(name), statusLine(code)})
	switch {
	case code >= 500:
		r.code = http.StatusBadGateway
	case r.code < 400:
		r.code = http.StatusBadRequest
	}
}

// end is a failure that ends all.
func (r *report) end(code int, body string) { r.code, r.body = code, body }

func (r *report) fields() map[string]any {
	all := map[string]any{"Response Status": statusLine(r.code), "Response Body": r.body}
	for name, n := range r.numbers {
		all[name] = n
	}
	for name, text := range r.extra {
		all[name] = text
	}
	return all
}

func (r *report) render() []byte {
	fields := r.fields()
	if r.kind == "application/json" {
		fields["Errors"] = [][2]string{}
		if len(r.errors) > 0 {
			fields["Errors"] = r.errors
		}
		data, _ := json.Marshal(fields) // texts and numbers
		return data
	}
	names := make([]string, 0, len(fields))
	for name := range fields {
		names = append(names, name)
	}
	slices.Sort(names)
	if strings.HasSuffix(r.kind, "/xml") {
		return []byte(r.xml(names, fields))
	}
	var b strings.Builder
	for _, name := range names {
		b.WriteString(name + ": " + fieldText(fields[name]) + "\n")
	}
	b.WriteString("Errors:\n")
	for _, e := range r.errors {
		b.WriteString(e[0] + ", " + e[1] + "\n")
	}
	return []byte(b.String())
}

func (r *report) xml(names []string, fields map[string]any) string {
	var b strings.Builder
	b.WriteString("<" + r.root + ">\n")
	for _, name := range names {
		element := strings.ReplaceAll(strings.ToLower(name), " ", "_")
		b.WriteString("<" + element + ">" + escapeXML(fieldText(fields[name])) + "</" + element + ">\n")
	}
	b.WriteString("<errors>\n")
	for _, e := range r.errors {
		b.WriteString("<object><name>" + escapeXML(e[0]) + "</name><status>" + escapeXML(e[1]) + "</status></object>\n")
	}
	b.WriteString("</errors>\n</" + r.root + ">\n")
	return b.String()
}

func fieldText(v any) string {
	if n, ok := v.(int); ok {
		return strconv.Itoa(n)
	}
	s, _ := v.(string)
	return s
}
