package s3

import (
	"bytes"
	"crypto/hmac"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/objectstore"
)

// Uploads by HTML forms, as "POST object" and "POST policy" of S3's API reference have them. The fields come first, the file
// last; it streams like any other body.

const (
	maxFormFields = 20 << 10 // all fields together, as S3 has it
	maxFormParts  = 100
)

// form is what was filled in before the file.
type form struct {
	fields   map[string]string // names in lower case
	file     *multipart.Part
	fileName string
}

func readForm(q *request) (*form, error) {
	reader, err := q.MultipartReader()
	if err != nil {
		return nil, fail("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
	}
	f := &form{fields: map[string]string{}}
	left := int64(maxFormFields)
	for range maxFormParts {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return nil, fail("InvalidArgument", "POST requires exactly one file upload per request.").with("ArgumentName", "file")
		}
		if err != nil {
			return nil, fail("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
		}
		name := strings.ToLower(part.FormName())
		if name == "file" {
			f.file, f.fileName = part, part.FileName()
			return f, nil
		}
		value, err := io.ReadAll(io.LimitReader(part, left+1))
		if err != nil {
			return nil, cutForm(err)
		}
		if left -= int64(len(value)); left < 0 {
			return nil, fail("MaxMessageLengthExceeded", "The fields of the form are too large.")
		}
		f.fields[name] = string(value)
	}
	return nil, fail("MalformedPOSTRequest", "The form has too many fields.")
}

func cutForm(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return fail("MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.")
}

func (a *api) postObject(q *request) error {
	q.Request.Body = io.NopCloser(&patientReader{q.Request.Body, http.NewResponseController(q.w), a.options.Idle})
	f, err := readForm(q)
	if err != nil {
		return err
	}
	if f.fields["key"] == "" {
		return fail("InvalidArgument", "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of the fields.").with("ArgumentName", "key")
	}
	f.fields["key"] = strings.ReplaceAll(f.fields["key"], "${filename}", f.fileName)
	limits, err := a.formCaller(q, f)
	if err != nil {
		return err
	}
	q.path.Object = f.fields["key"]
	h := http.Header{}
	for name, value := range f.fields {
		h.Set(name, value)
	}
	h.Set("X-Amz-Tagging", "")
	spec := objectstore.PutSpec{Size: -1}
	if spec.ObjectInfo, err = objectInfo(h); err != nil {
		return err
	}
	if text := f.fields["tagging"]; text != "" {
		var t tagging
		if err := decodeXML([]byte(text), &t); err != nil {
			return err
		}
		if spec.Tags, err = checkTags(t.Tags, maxObjectTags); err != nil {
			return err
		}
	}
	o, err := a.objects.Put(q.Context(), q.caller, q.path, spec, &formFile{src: f.file, limits: limits})
	if err != nil {
		return err
	}
	return a.posted(q, f, o)
}

// formFile is a file whose length the policy may bound.
type formFile struct {
	src    io.Reader
	limits formLimits
	read   int64
}

type formLimits struct{ least, most int64 }

func (f *formFile) Read(p []byte) (int, error) {
	n, err := f.src.Read(p)
	f.read += int64(n)
	switch {
	case f.read > f.limits.most:
		return n, fail("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size").with("MaxSizeAllowed", formatCount(f.limits.most))
	case errors.Is(err, io.EOF) && f.read < f.limits.least:
		return n, fail("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size").with("MinSizeAllowed", formatCount(f.limits.least))
	case err != nil && !errors.Is(err, io.EOF):
		return n, cutForm(err)
	}
	return n, err
}

// formCaller finds out who signed the form's policy, and whether the form is what the policy allows.
func (a *api) formCaller(q *request, f *form) (formLimits, error) {
	limits := formLimits{0, a.objects.Options().MaxObjectSize}
	encoded := f.fields["policy"]
	if encoded == "" {
		return limits, a.anonymous(q)
	}
	if f.fields["x-amz-algorithm"] != algorithmV4 {
		return limits, fail("InvalidRequest", "The authorization mechanism is not supported. Please use %s.", algorithmV4)
	}
	s := &signatureV4{}
	at, err := time.Parse(amzTime, f.fields["x-amz-date"])
	if !s.credential(f.fields["x-amz-credential"]) || err != nil || at.Format("20060102") != s.date {
		return limits, fail("AccessDenied", "The form's credential or date is missing or malformed.")
	}
	secret, err := a.identify(q, s.access)
	if err != nil {
		return limits, err
	}
	want := hex.EncodeToString(hmacSHA256(s.key(secret), encoded))
	if !hmac.Equal([]byte(want), []byte(f.fields["x-amz-signature"])) {
		return limits, badSignature(s.access, encoded, f.fields["x-amz-signature"])
	}
	q.signed = true
	return a.checkPolicy(q, f, encoded, limits)
}

// policySlack are the fields that a policy need not mention.
var policySlack = []string{"x-amz-signature", "file", "policy"}

type policyDocument struct {
	Expiration string            `json:"expiration"`
	Conditions []json.RawMessage `json:"conditions"`
}

func (a *api) checkPolicy(q *request, f *form, encoded string, limits formLimits) (formLimits, error) {
	bad := func(why string) (formLimits, error) {
		return limits, fail("AccessDenied", "Invalid according to Policy: %s", why)
	}
	raw, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return bad("it is not base64")
	}
	var doc policyDocument
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return bad("it is no JSON")
	}
	expires, err := time.Parse(time.RFC3339, doc.Expiration)
	if err != nil || !a.options.Now().Before(expires) {
		return bad("Policy expired.")
	}
	values := map[string]string{"bucket": q.path.Container}
	for name, value := range f.fields {
		values[name] = value
	}
	covered := slices.Clone(policySlack)
	for _, c := range doc.Conditions {
		name, err := policyCondition(c, values, &limits)
		if err != nil {
			return bad(err.Error())
		}
		covered = append(covered, name)
	}
	for name := range f.fields {
		if !slices.Contains(covered, name) && !strings.HasPrefix(name, "x-ignore-") {
			return bad("Extra input fields: " + name)
		}
	}
	return limits, nil
}

// policyCondition checks {"field": "value"}, ["eq"|"starts-with", "$field", "value"] or ["content-length-range", min, max].
func policyCondition(raw json.RawMessage, values map[string]string, limits *formLimits) (name string, err error) {
	failed := errors.New("Policy Condition failed: " + string(raw)) //nolint:staticcheck // S3's words
	var exact map[string]string
	if json.Unmarshal(raw, &exact) == nil {
		for name, value := range exact {
			if name = strings.ToLower(name); len(exact) == 1 && values[name] == value {
				return name, nil
			}
		}
		return "", failed
	}
	var list []any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if d.Decode(&list) != nil || len(list) != 3 {
		return "", failed
	}
	operator, _ := list[0].(string)
	if operator == "content-length-range" {
		least, ok1 := list[1].(json.Number)
		most, ok2 := list[2].(json.Number)
		low, err1 := least.Int64()
		high, err2 := most.Int64()
		if !ok1 || !ok2 || err1 != nil || err2 != nil || low < 0 || high < low {
			return "", failed
		}
		limits.least, limits.most = max(limits.least, low), min(limits.most, high)
		return operator, nil
	}
	field, _ := list[1].(string)
	value, ok := list[2].(string)
	name, dollar := strings.CutPrefix(strings.ToLower(field), "$")
	switch {
	case !ok || !dollar:
	case operator == "eq" && values[name] == value, operator == "starts-with" && strings.HasPrefix(values[name], value):
		return name, nil
	}
	return "", failed
}

type postResult struct {
	XMLName                     xml.Name `xml:"PostResponse"`
	Location, Bucket, Key, ETag string
}

// posted answers as the form wanted.
func (a *api) posted(q *request, f *form, o *objectstore.Object) error {
	h := q.w.Header()
	h.Set("Etag", quoted(o.ETag))
	if o.Version != "" {
		h.Set("X-Amz-Version-Id", o.Version)
	}
	at := strings.TrimSuffix(location(q), "/") + "/" + escape(q.path.Object, true)
	h.Set("Location", at)
	next := f.fields["success_action_redirect"]
	if u, err := url.Parse(next); err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" {
		values := u.Query()
		values.Set("bucket", q.path.Container)
		values.Set("key", q.path.Object)
		values.Set("etag", quoted(o.ETag))
		u.RawQuery = values.Encode()
		h.Set("Location", u.String())
		q.w.WriteHeader(http.StatusSeeOther)
		return nil
	}
	switch f.fields["success_action_status"] {
	case "200":
		q.w.WriteHeader(http.StatusOK)
		return nil
	case "201":
		return writeXML(q.w, http.StatusCreated, postResult{Location: at, Bucket: q.path.Container, Key: q.path.Object, ETag: quoted(o.ETag)})
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}
