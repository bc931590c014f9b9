package swift

import (
	"net/http"
	"slices"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// sharing is what a container lets pages of other origins see (https://docs.openstack.org/swift/latest/cors.html).
type sharing struct {
	origin string // of the request
	any    bool
	expose []string
	maxAge string
	done   bool
}

// load finds out how the container shares, for a request that comes from another origin; one whose origin the container
// does not know has no sharing.
func (a *api) load(q *request) {
	origin := q.Header.Get("Origin")
	if origin == "" || q.path.Container == "" {
		return
	}
	path := q.path
	path.Object = ""
	container, err := a.store.Container(q.Context(), operator(), path)
	if err != nil {
		return
	}
	allowed := strings.Fields(container.Metadata["access-control-allow-origin"])
	s := &sharing{
		origin: origin, any: slices.Contains(allowed, "*"), maxAge: container.Metadata["access-control-max-age"],
		expose: strings.Fields(strings.ToLower(container.Metadata["access-control-expose-headers"])),
	}
	if s.any || slices.Contains(allowed, origin) {
		q.shared = s
	}
}

// allow names the origin to the browser.
func (s *sharing) allow(h http.Header) {
	if s.any {
		h.Set("Access-Control-Allow-Origin", "*")
		return
	}
	h.Set("Access-Control-Allow-Origin", s.origin)
	h.Add("Vary", "Origin")
}

// dress tells the browser which headers of the answer the page may see.
func (s *sharing) dress(q *request) {
	if s == nil || s.done {
		return
	}
	s.done = true
	h := q.w.Header()
	seen := []string{
		"cache-control", "content-language", "content-type", "expires", "last-modified", "pragma", "etag",
		"x-timestamp", "x-trans-id", "x-openstack-request-id",
	}
	for name := range h {
		if strings.HasPrefix(name, "X-Container-Meta-") || strings.HasPrefix(name, "X-Object-Meta-") {
			seen = append(seen, strings.ToLower(name))
		}
	}
	seen = append(seen, s.expose...)
	slices.Sort(seen)
	h.Set("Access-Control-Expose-Headers", strings.Join(slices.Compact(seen), ", "))
	s.allow(h)
}

// preflight answers OPTIONS: which methods there are, and for a browser whether a page of its origin may use them.
func (a *api) preflight(q *request) error {
	methods := []string{"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"}
	if q.path.Object != "" {
		methods = append([]string{"COPY"}, methods...)
	}
	h := q.w.Header()
	h.Set("Allow", strings.Join(methods, ", "))
	if q.Header.Get("Origin") == "" || q.path.Container == "" {
		return q.empty(http.StatusOK)
	}
	if q.shared == nil || !slices.Contains(methods, q.Header.Get("Access-Control-Request-Method")) {
		return objectstore.ErrUnauthorized
	}
	q.shared.done = true // what an answer may show is not asked here
	q.shared.allow(h)
	if q.shared.maxAge != "" {
		h.Set("Access-Control-Max-Age", q.shared.maxAge)
	}
	h.Set("Access-Control-Allow-Methods", strings.Join(methods, ", "))
	if wanted := q.Header.Get("Access-Control-Request-Headers"); wanted != "" {
		h.Set("Access-Control-Allow-Headers", wanted)
		h.Add("Vary", "Access-Control-Request-Headers")
	}
	return q.empty(http.StatusOK)
}
