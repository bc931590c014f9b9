package swift

import (
	"net/http"
	"strconv"
)

// start begins the answer. The headers are complete then.
func (q *request) start(code int) {
	q.temp.dress(q, code)
	q.shared.dress(q)
	q.w.WriteHeader(code)
}

// empty answers without a body. Swift names a type even then, and its clients expect one.
func (q *request) empty(code int) error {
	h := q.w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "text/html; charset=UTF-8")
	}
	if code != http.StatusNoContent && code != http.StatusNotModified {
		h.Set("Content-Length", "0")
	}
	q.start(code)
	return nil
}

// body answers with a body.
func (q *request) body(code int, data []byte) error {
	q.w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	q.start(code)
	_, _ = q.w.Write(data) // a client that has gone cannot be told
	return nil
}

// done answers with Swift's page of the status.
func (q *request) done(code int) error {
	q.w.Header().Set("Content-Type", "text/html; charset=UTF-8")
	if code == http.StatusCreated {
		return q.empty(code)
	}
	return q.body(code, []byte(page(code)))
}
