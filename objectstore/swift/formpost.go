package swift

import (
	"errors"
	"fmt"
	"html"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/kintoun/kintoun/objectstore"
)

// The bounds on what a form has beside its files.
const (
	maxFormValue  = 4096
	maxFormFields = 100
)

// isForm says whether a browser uploads a form.
func isForm(q *request) bool {
	kind, params, err := mime.ParseMediaType(q.Header.Get("Content-Type"))
	return err == nil && kind == "multipart/form-data" && params["boundary"] != ""
}

// form is what a form says before its files.
type form struct {
	fields map[string]string
	files  int
	// number is a number of the fields; a form without the field has zero.
	maxSize, maxCount, expires int64
}

// formPost stores the files of a form that somebody signed who had the account's or the container's key
// (https://docs.openstack.org/swift/latest/api/form_post_middleware.html).
func (a *api) formPost(q *request) error {
	_, params, _ := mime.ParseMediaType(q.Header.Get("Content-Type"))
	parts := multipart.NewReader(q.reads, params["boundary"])
	f := &form{fields: map[string]string{}}
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return formError("invalid starting boundary")
		}
		disposition, attributes, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
		if err != nil || disposition != "form-data" || attributes["filename"] == "" {
			if err := f.field(strings.ToLower(attributes["name"]), part); err != nil {
				return err
			}
			continue
		}
		f.files++
		if err := a.formFile(q, f, attributes["filename"], part); err != nil {
			return f.answer(q, err)
		}
	}
	if f.files == 0 {
		return f.answer(q, formError("No Files To Process"))
	}
	return f.answer(q, nil)
}

// formError is what is wrong with a form.
func formError(format string, args ...any) error {
	return refuse(http.StatusBadRequest, "FormPost: "+format, args...)
}

func (f *form) field(name string, part io.Reader) error {
	value, err := io.ReadAll(io.LimitReader(part, maxFormValue))
	if err != nil {
		return formError("invalid starting boundary")
	}
	if len(f.fields) >= maxFormFields {
		return formError("too many fields")
	}
	if name != "" {
		f.fields[name] = strings.TrimRight(string(value), "\r\n")
	}
	return nil
}

// numbers reads the fields that are numbers.
func (f *form) numbers() error {
	for _, n := range []struct {
		name string
		to   *int64
	}{{"max_file_size", &f.maxSize}, {"max_file_count", &f.maxCount}, {"expires", &f.expires}} {
		text := f.fields[n.name]
		if text == "" {
			continue
		}
		var err error
		if *n.to, err = strconv.ParseInt(text, 10, 64); err != nil {
			return formError("%s not an integer", n.name)
		}
	}
	return nil
}

// formFile stores a file.
func (a *api) formFile(q *request, f *form, name string, part *multipart.Part) error {
	if err := f.numbers(); err != nil {
		return err
	}
	if int64(f.files) > f.maxCount {
		return formError("Max File Count Exceeded")
	}
	now := a.options.Now()
	if err := a.checkForm(q, f, now); err != nil {
		return err
	}
	to := q.path
	to.Object += name
	if len(to.Object) > a.limits().MaxNameLength {
		return refuse(http.StatusBadRequest, "Object name length of %d longer than %d", len(to.Object), a.limits().MaxNameLength)
	}
	spec := objectstore.PutSpec{Size: -1}
	spec.ContentType = f.first("content-type", part.Header.Get("Content-Type"))
	if spec.ContentType == "" {
		spec.ContentType = guessType(to.Object)
	}
	if encoding := f.first("content-encoding", part.Header.Get("Content-Encoding")); encoding != "" {
		spec.Headers = map[string]string{"Content-Encoding": encoding}
	}
	var err error
	spec.ExpiresAt, _, err = expiry(http.Header{
		"X-Delete-At": {f.fields["x_delete_at"]}, "X-Delete-After": {f.fields["x_delete_after"]},
	}, now)
	if err != nil {
		return err
	}
	caller := objectstore.Caller{Referrer: q.Referer(), Grant: &objectstore.Grant{
		Account: to.Account, Container: to.Container, Prefix: to.Object, Exact: true, Write: true,
	}}
	_, err = a.store.Put(q.Context(), caller, to, spec, &boundedFile{r: part, left: f.maxSize})
	return err
}

func (f *form) first(field, header string) string {
	if v := f.fields[field]; v != "" {
		return v
	}
	return header
}

// checkForm checks until when a form holds, and who signed it.
func (a *api) checkForm(q *request, f *form, now time.Time) error {
	refused := func(why string) error {
		return &refusal{status: http.StatusUnauthorized, text: "FormPost: " + why}
	}
	if f.expires < now.Unix() {
		return refused("Form Expired")
	}
	digest, signature, err := parseSignature(f.fields["signature"])
	if err != nil {
		return refused("Invalid Signature")
	}
	k, err := a.keys(q)
	if err != nil {
		return err
	}
	or0 := func(name string) string {
		if v := f.fields[name]; v != "" {
			return v
		}
		return "0"
	}
	text := fmt.Sprintf("%s\n%s\n%s\n%s\n%s", q.URL.Path, f.fields["redirect"], or0("max_file_size"), or0("max_file_count"), or0("expires"))
	if _, ok := k.sign(digest, signature, text); !ok {
		return refused("Invalid Signature")
	}
	return nil
}

// boundedFile ends a file that is larger than the form allows.
type boundedFile struct {
	r    io.Reader
	left int64
}

// Read fails with a refusal when more comes than is left.
func (b *boundedFile) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, formError("max_file_size exceeded")
	}
	return n, err
}

// answer tells the browser how it went, or sends it where the form says.
func (f *form) answer(q *request, err error) error {
	code, message := http.StatusCreated, ""
	if err != nil {
		t := translate(err, false)
		code, message = t.status, t.text
	}
	redirect := f.fields["redirect"]
	if err != nil && (redirect == "" || code == http.StatusUnauthorized) {
		return err
	}
	h := q.w.Header()
	if redirect == "" {
		h.Set("Content-Type", "text/plain; charset=UTF-8")
		return q.body(code, []byte(statusLine(code)))
	}
	separator := "?"
	if strings.Contains(redirect, "?") {
		separator = "&"
	}
	message = strings.TrimPrefix(message, "FormPost: ")
	to := redirect + separator + "status=" + strconv.Itoa(code) + "&message=" + strings.ReplaceAll(url.QueryEscape(message), "+", "%20")
	h.Set("Location", to)
	h.Set("Content-Type", "text/html; charset=UTF-8")
	return q.body(http.StatusSeeOther, []byte(`<html><body><p><a href="`+html.EscapeString(to)+`">Click to continue...</a></p></body></html>`))
}
