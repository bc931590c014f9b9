package swift

import (
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"

	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/objectstore"
)

// statusRateLimited is Swift's own.
const statusRateLimited = 498

// statusClientDisconnect is what Swift writes into its log for a client that went away; nobody sees it but logs and tests.
const statusClientDisconnect = 499

// refusal is an error that is already Swift's: a status and a text, or with an empty text the page that Swift has for the
// status.
type refusal struct {
	status int
	text   string
	header http.Header
}

func (f *refusal) Error() string {
	if f.text != "" {
		return f.text
	}
	return http.StatusText(f.status)
}

// HTTPStatus makes a refusal one for package wire too.
func (f *refusal) HTTPStatus() int { return f.status }

// refuse is a refusal with a text of its own; without one, Swift's page for the status.
func refuse(status int, format string, args ...any) error {
	return &refusal{status: status, text: fmt.Sprintf(format, args...)}
}

// status is an error with Swift's page of that status.
func status(code int) error { return &refusal{status: code} }

// words are the title and the text that Swift has for a status.
func words(code int) (title, text string) {
	p, ok := map[int][2]string{
		200: {"OK", ""},
		201: {"Created", ""},
		202: {"Accepted", "The request is accepted for processing."},
		301: {"Moved Permanently", "The resource has moved permanently."},
		303: {"See Other", "The response to the request can be found under a different URI."},
		307: {"Temporary Redirect", "The resource has moved temporarily."},
		400: {"Bad Request", "The server could not comply with the request since it is either malformed or otherwise incorrect."},
		401: {"Unauthorized", "This server could not verify that you are authorized to access the document you requested."},
		403: {"Forbidden", "Access was denied to this resource."},
		404: {"Not Found", "The resource could not be found."},
		405: {"Method Not Allowed", "The method is not allowed for this resource."},
		406: {"Not Acceptable", "The resource is not available in a format acceptable to your browser."},
		408: {"Request Timeout", "The server has waited too long for the request to be sent by the client."},
		409: {"Conflict", "There was a conflict when trying to complete your request."},
		411: {"Length Required", "Content-Length header required."},
		412: {"Precondition Failed", "A precondition for this request was not met."},
		413: {"Request Entity Too Large", "The body of your request was too large for this server."},
		416: {"Requested Range Not Satisfiable", "The Range requested is not available."},
		422: {"Unprocessable Entity", "Unable to process the contained instructions"},
		429: {"Too Many Requests", "Slow down."},
		498: {"Rate Limited", "Slow down"},
		499: {"Client Disconnect", "The client was disconnected during request."},
		500: {"Internal Error", "The server has either erred or is incapable of performing the requested operation."},
		501: {"Not Implemented", "The requested method is not implemented by this server."},
		503: {"Service Unavailable", "The server is currently unavailable. Please try again at a later time."},
		507: {"Insufficient Storage", "There was not enough space to save the resource."},
	}[code]
	if !ok {
		return http.StatusText(code), ""
	}
	return p[0], p[1]
}

// page is the HTML that Swift answers a status with.
func page(code int) string {
	title, text := words(code)
	return "<html><h1>" + html.EscapeString(title) + "</h1><p>" + html.EscapeString(text) + "</p></html>"
}

// statusLine is a status as Swift's reports of many operations name it: "404 Not Found".
func statusLine(code int) string {
	title, _ := words(code)
	return strconv.Itoa(code) + " " + title
}

// translate gives an error of the domain Swift's status and text.
func translate(err error, known bool) *refusal {
	var own *refusal
	switch {
	case errors.As(err, &own):
		return own
	case errors.Is(err, objectstore.ErrUnauthorized), errors.Is(err, objectstore.ErrForbidden) && !known:
		return &refusal{status: http.StatusUnauthorized}
	case errors.Is(err, objectstore.ErrForbidden):
		return &refusal{status: http.StatusForbidden}
	case errors.Is(err, objectstore.ErrNotModified):
		return &refusal{status: http.StatusNotModified}
	case errors.Is(err, objectstore.ErrPrecondition):
		return &refusal{status: http.StatusPreconditionFailed}
	case errors.Is(err, objectstore.ErrChecksum):
		return &refusal{status: http.StatusUnprocessableEntity}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &refusal{status: http.StatusRequestTimeout}
	case errors.Is(err, objectstore.ErrIncomplete), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, context.Canceled):
		return &refusal{status: statusClientDisconnect}
	case errors.Is(err, objectstore.ErrQuota):
		return &refusal{status: http.StatusRequestEntityTooLarge, text: "Upload exceeds quota."}
	case errors.Is(err, objectstore.ErrTooLarge):
		return &refusal{status: http.StatusRequestEntityTooLarge, text: "Your request is too large."}
	case errors.Is(err, objectstore.ErrTooFast):
		return &refusal{status: statusRateLimited, text: "Slow down"}
	case errors.Is(err, objectstore.ErrNotFound), errors.Is(err, objectstore.ErrConflict):
		return &refusal{status: wire.Status(err)}
	case errors.Is(err, objectstore.ErrInvalid):
		return &refusal{status: http.StatusBadRequest, text: err.Error()}
	}
	return &refusal{status: wire.Status(err)}
}

// fail answers with an error. What is the server's own failure is logged and not told.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error, known bool) {
	f := translate(err, known)
	if f.status >= 500 && f.status != http.StatusNotImplemented {
		a.options.Log.Error("request failed", "request", w.Header().Get("X-Trans-Id"), "method", r.Method, "path", r.URL.Path, "error", err)
	}
	h := w.Header()
	if f.status == http.StatusNotModified {
		w.WriteHeader(f.status)
		return
	}
	// What was said of a content is not true of the page.
	for _, name := range append(keptHeaders(), "Content-Range", "Content-Length", "Content-Type") {
		h.Del(name)
	}
	for name, values := range f.header {
		h[name] = values
	}
	if f.status == http.StatusUnauthorized {
		a.challenge(h, r)
	}
	body, kind := page(f.status), "text/html; charset=UTF-8"
	if f.text != "" {
		body, kind = f.text, "text/plain; charset=UTF-8"
	}
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", kind)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(f.status)
	_, _ = io.WriteString(w, body) // a client that has gone cannot be told
}

// challenge says how to authenticate (RFC 9110, section 11.6.1).
func (a *api) challenge(h http.Header, r *http.Request) {
	realm := "unknown"
	if p, err := splitPath(r.URL.Path); err == nil && p.Account != "" {
		realm = (&url.URL{Path: p.Account}).EscapedPath()
	}
	if h.Get("Www-Authenticate") != "" {
		return
	}
	h.Add("Www-Authenticate", "Swift realm="+strconv.Quote(realm))
	if a.options.AuthURL != "" {
		h.Add("Www-Authenticate", "Keystone uri="+strconv.Quote(a.options.AuthURL))
	}
}
