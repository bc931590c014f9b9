package glance

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// drainLimit is how much of a refused upload is still taken, so that a client that does not listen while it sends
// hears why.
const drainLimit = 64 << 20

func (a *api) upload(w http.ResponseWriter, r *http.Request) error {
	store := r.Header.Get("X-Image-Meta-Store")
	return a.take(w, r, func(body io.Reader, size int64) error {
		_, err := a.images.UploadTo(r.Context(), scope(r), r.PathValue("id"), store, body, size)
		return err
	})
}

func (a *api) stage(w http.ResponseWriter, r *http.Request) error {
	return a.take(w, r, func(body io.Reader, size int64) error {
		_, err := a.images.Stage(r.Context(), scope(r), r.PathValue("id"), body, size)
		return err
	})
}

// take receives data, of a size that is -1 where it is not announced.
func (a *api) take(w http.ResponseWriter, r *http.Request, keep func(body io.Reader, size int64) error) error {
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/octet-stream" {
		return wire.WithStatus(http.StatusUnsupportedMediaType, errors.New("an image's data is uploaded as application/octet-stream"))
	}
	size := r.ContentLength
	if text := r.Header.Get("X-Openstack-Image-Size"); text != "" {
		announced, err := strconv.ParseInt(text, 10, 64)
		if err != nil || announced < 0 || size >= 0 && size != announced {
			return fault.Wrap(image.ErrInvalid, "x-openstack-image-size %.40q is not the size of the data", text)
		}
		size = announced
	}
	body := &patientReader{body: r.Body, control: http.NewResponseController(w), idle: a.options.UploadIdle}
	err := keep(body, size)
	switch {
	case err == nil:
		return empty(w)
	case body.err != nil && !errors.Is(body.err, io.EOF):
		return fault.Wrap(image.ErrInvalid, "the upload was cut: %s", body.err)
	}
	_, _ = io.CopyN(io.Discard, body, drainLimit)
	if errors.Is(err, image.ErrFormat) {
		return wire.WithStatus(http.StatusUnsupportedMediaType, err)
	}
	return err
}

// patientReader reads a body that may take as long as it wants, while it moves.
type patientReader struct {
	body    io.Reader
	control *http.ResponseController
	idle    time.Duration
	err     error
}

// Read gives the client more time. Where the server cannot, its own limits hold.
func (p *patientReader) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(p.idle))
	n, err := p.body.Read(b)
	if err != nil {
		p.err = err
	}
	return n, err
}

// download answers the content, or the ranges of it that the request asks for (RFC 9110, section 14).
func (a *api) download(w http.ResponseWriter, r *http.Request) error {
	img, content, err := a.images.Open(r.Context(), scope(r), r.PathValue("id"))
	if errors.Is(err, image.ErrNoData) {
		return empty(w)
	}
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	h := w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Md5", img.Data.Checksum)
	h.Set("Etag", strconv.Quote(img.Data.HashValue))
	// A large image takes longer than a server lets its other answers take.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
	http.ServeContent(w, r, "", time.Time{}, content)
	return nil
}
