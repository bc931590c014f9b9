package swift

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/kintoun/kintoun/objectstore"
)

// bulk is many operations in one request, whose statuses come in a report at the end.
type bulk struct {
	*pulse
	*report
}

func (a *api) newBulk(q *request, root string, code int) (*bulk, error) {
	kind, err := accepted(q.Header.Get("Accept"), reportTypes()...)
	if err != nil {
		return nil, err
	}
	return &bulk{a.newPulse(q, kind, http.StatusOK), newReport(kind, root, code)}, nil
}

// finish writes the report.
func (b *bulk) finish() error {
	data := b.render()
	if b.begun {
		b.tell(data)
		return nil
	}
	drain(b.q)
	b.q.w.Header().Set("Content-Type", b.kind)
	return b.q.body(http.StatusOK, data)
}

// sized says whether the client told how long its body is.
func (q *request) sized() bool {
	return q.ProtoMajor > 1 || q.ContentLength != 0 || q.Header.Get("Content-Length") != ""
}

// bulkDelete deletes the objects and containers that the body names, a line each.
func (a *api) bulkDelete(q *request) error {
	b, err := a.newBulk(q, "delete", http.StatusOK)
	if err != nil {
		return err
	}
	b.numbers = map[string]int{"Number Deleted": 0, "Number Not Found": 0}
	kind := q.Header.Get("Content-Type")
	switch {
	case kind != "" && !strings.HasPrefix(kind, "text/plain"):
		b.end(http.StatusNotAcceptable, page(http.StatusNotAcceptable))
		return b.finish()
	case !q.sized():
		b.end(http.StatusLengthRequired, page(http.StatusLengthRequired))
		return b.finish()
	}
	limits := a.limits()
	names, err := readNames(q.reads, maxBulkDeletes, limits.MaxNameLength+limits.MaxContainerNameLength+2)
	if err != nil {
		f := translate(err, q.known)
		b.end(f.status, f.Error())
		return b.finish()
	}
	// Containers go last, when they may have become empty.
	for _, containers := range []bool{false, true} {
		for _, name := range names {
			if isContainer := !strings.Contains(strings.Trim(name, "/"), "/"); isContainer != containers {
				continue
			}
			b.delete(name)
			if len(b.errors) >= maxBulkFailures {
				b.end(http.StatusBadRequest, "Max delete failures exceeded")
				return b.finish()
			}
			b.tick()
		}
	}
	if len(b.errors) == 0 && b.numbers["Number Deleted"]+b.numbers["Number Not Found"] == 0 {
		b.end(http.StatusBadRequest, "Invalid bulk delete.")
	}
	return b.finish()
}

// readNames reads percent-encoded names, a line each; most bounds how many, and longest how long each may be.
func readNames(r io.Reader, most, longest int) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(r)
	line := 3*longest + 2 // every byte of a name can be encoded
	lines.Buffer(make([]byte, 0, min(line, 4096)), line)
	for lines.Scan() {
		name := unescape(strings.TrimSpace(lines.Text()))
		if name == "" {
			continue
		}
		if names = append(names, name); len(names) > most {
			return nil, refuse(http.StatusRequestEntityTooLarge, "Maximum Bulk Deletes: %d per request", most)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, refuse(http.StatusBadRequest, "Invalid File Name")
	case err != nil:
		return nil, errors.Join(objectstore.ErrIncomplete, err)
	}
	return names, nil
}

func (b *bulk) delete(name string) {
	if !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		b.failed(name, http.StatusPreconditionFailed)
		return
	}
	container, object, _ := strings.Cut(strings.TrimLeft(name, "/"), "/")
	path := objectstore.Path{Account: b.q.path.Account, Container: container, Object: object}
	var err error
	if object == "" {
		err = b.a.store.DeleteContainer(b.q.Context(), b.q.caller, path)
	} else {
		var deleted *objectstore.Deleted
		deleted, err = b.a.store.Delete(b.q.Context(), b.q.caller, path, objectstore.DeleteSpec{})
		if err == nil && !deleted.Existed {
			err = objectstore.ErrNoObject
		}
	}
	switch {
	case errors.Is(err, objectstore.ErrNotFound):
		b.numbers["Number Not Found"]++
	case err != nil:
		b.failed(name, translate(err, b.q.known).status)
	default:
		b.numbers["Number Deleted"]++
	}
}

// extract uploads the files of an archive as objects. Containers that are not there are made.
func (a *api) extract(q *request) error {
	kind := strings.Trim(strings.ToLower(q.query.Get("extract-archive")), ".")
	if kind != "tar" && kind != "tar.gz" && kind != "tar.bz2" {
		return refuse(http.StatusBadRequest, "Unsupported archive format")
	}
	b, err := a.newBulk(q, "extract", http.StatusCreated)
	if err != nil {
		return err
	}
	b.numbers = map[string]int{"Number Files Created": 0}
	if !q.sized() {
		b.end(http.StatusLengthRequired, page(http.StatusLengthRequired))
		return b.finish()
	}
	x := &extraction{bulk: b, seen: map[string]bool{}}
	err = x.run(kind)
	var own *refusal
	switch {
	case errors.As(err, &own):
		b.end(own.status, own.text)
	case err != nil:
		b.end(http.StatusBadRequest, "Invalid Tar File: "+err.Error())
	case len(b.errors) == 0 && b.numbers["Number Files Created"] == 0:
		b.end(http.StatusBadRequest, "Invalid Tar File: No Valid Files")
	}
	return b.finish()
}

type extraction struct {
	*bulk
	seen map[string]bool // containers
	made int
}

func unpack(kind string, r io.Reader) (io.Reader, error) {
	switch kind {
	case "tar.gz":
		return gzip.NewReader(r)
	case "tar.bz2":
		return bzip2.NewReader(r), nil
	}
	return r, nil
}

func (x *extraction) run(kind string) error {
	plain, err := unpack(kind, x.q.reads)
	if err != nil {
		return err
	}
	archive := tar.NewReader(plain)
	for len(x.errors) < maxBulkFailures {
		x.tick()
		head, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if head.Typeflag != tar.TypeReg {
			continue
		}
		if err := x.file(head, archive); err != nil {
			return err
		}
	}
	return nil
}

// file uploads a file. What goes wrong with it is reported; an error ends the whole.
func (x *extraction) file(head *tar.Header, content io.Reader) error {
	name := strings.TrimLeft(strings.TrimPrefix(head.Name, "./"), "/")
	if base := strings.TrimRight(strings.Trim(x.q.path.Container+"/"+x.q.path.Object, "/"), "/"); base != "" {
		name = base + "/" + name
	}
	container, object, deep := strings.Cut(name, "/")
	limits := x.a.limits()
	switch {
	case !deep || object == "":
		return nil
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		x.failed(strings.ToValidUTF8(name, "?"), http.StatusPreconditionFailed)
		return nil
	case head.Size > limits.MaxObjectSize:
		x.failed(name, http.StatusRequestEntityTooLarge)
		return nil
	case len(object) > limits.MaxNameLength || len(container) > limits.MaxContainerNameLength:
		x.failed(name[:min(len(name), limits.MaxNameLength)], http.StatusBadRequest)
		return nil
	}
	to := objectstore.Path{Account: x.q.path.Account, Container: container, Object: object}
	if err := x.container(to); err != nil {
		return err
	}
	spec, err := x.spec(head, object)
	if err == nil {
		_, err = x.a.store.Put(x.q.Context(), x.q.caller, to, spec, content)
	}
	if err == nil {
		x.numbers["Number Files Created"]++
		return nil
	}
	if x.q.reads.err != nil && !errors.Is(x.q.reads.err, io.EOF) {
		return x.q.reads.err
	}
	f := translate(err, x.q.known)
	x.failed(name, f.status)
	if f.status == http.StatusUnauthorized {
		return &refusal{status: f.status, text: page(f.status)}
	}
	return nil
}

// container makes sure that the container is there. Who may not make one may still write to one that is.
func (x *extraction) container(to objectstore.Path) error {
	if x.seen[to.Container] {
		return nil
	}
	x.seen[to.Container] = true
	to.Object = ""
	if _, err := x.a.store.Container(x.q.Context(), x.q.caller, to); !errors.Is(err, objectstore.ErrNoContainer) {
		return nil //nolint:nilerr // the upload tells what is wrong
	}
	_, created, err := x.a.store.CreateContainer(x.q.Context(), x.q.caller, to, func(*objectstore.Settings) error { return nil })
	if created {
		x.made++
	}
	if err == nil && x.made > maxBulkContainers {
		return refuse(http.StatusBadRequest, "More than %d containers to create from tar.", maxBulkContainers)
	}
	return nil
}

// spec is what the request and the archive say of a file.
func (x *extraction) spec(head *tar.Header, object string) (objectstore.PutSpec, error) {
	spec := objectstore.PutSpec{Size: head.Size}
	spec.Metadata = objectMetadata(x.q.Header)
	for key, value := range head.PAXRecords {
		for _, tool := range []string{"SCHILY.xattr.user.", "LIBARCHIVE.xattr.user."} {
			attribute, ours := strings.CutPrefix(key, tool)
			if name, meta := strings.CutPrefix(attribute, "meta."); ours && meta {
				spec.Metadata[hyphens(strings.ToLower(name))] = value
			} else if ours && attribute == "mime_type" {
				spec.ContentType = value
			}
		}
	}
	if spec.ContentType == "" {
		spec.ContentType = guessType(object)
	}
	var err error
	if spec.ExpiresAt, _, err = expiry(x.q.Header, x.a.options.Now()); err != nil {
		return spec, err
	}
	if bytes.ContainsAny([]byte(spec.ContentType), "\r\n") {
		return spec, status(http.StatusBadRequest)
	}
	return spec, checkMetadata(spec.Metadata, "Object", x.a.limits())
}
