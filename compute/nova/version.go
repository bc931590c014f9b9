package nova

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/compute"
	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
)

// The microversions that are served: 2.MinMinor to 2.MaxMinor, each with its own bodies.
const (
	MinMinor = 1
	MaxMinor = 96
)

// negotiated is what a request's address and headers say about the version.
type negotiated struct {
	// minor is the microversion's second number.
	minor int
	// legacy requests came by /v2, where what is not known is ignored.
	legacy bool
	// project is the one named in the address, as old clients do.
	project string
}

type negotiatedKey struct{}

func negotiatedFrom(ctx context.Context) negotiated {
	n, _ := ctx.Value(negotiatedKey{}).(negotiated)
	return n
}

const (
	newHeader = "OpenStack-API-Version"
	oldHeader = "X-OpenStack-Nova-API-Version"
)

var versionPattern = regexp.MustCompile(`^([1-9]\d*)\.([1-9]\d*|0)$`)

// requested reads the microversion that a client asks for; both headers exist, the newer one names the service.
func requested(h http.Header) (int, error) {
	text := ""
	for _, part := range strings.Split(strings.Join(h.Values(newHeader), ","), ",") {
		if service, version, ok := strings.Cut(strings.TrimSpace(part), " "); ok && strings.EqualFold(service, "compute") {
			text = strings.TrimSpace(version)
		}
	}
	if text == "" {
		text = h.Get(oldHeader)
	}
	switch text {
	case "":
		return MinMinor, nil
	case "latest":
		return MaxMinor, nil
	}
	m := versionPattern.FindStringSubmatch(text)
	if m == nil {
		return 0, fault.Wrap(compute.ErrInvalid, "API Version String %s is of invalid format. Must be of format MajorNum.MinorNum.", text)
	}
	minor, err := strconv.Atoi(m[2])
	if m[1] != "2" || err != nil || minor < MinMinor || minor > MaxMinor {
		return 0, wire.WithStatus(http.StatusNotAcceptable, fault.Wrap(compute.ErrUnsupported, "Version %s is not supported by the API. Minimum is 2.%d and maximum is 2.%d.", text, MinMinor, MaxMinor))
	}
	return minor, nil
}

// negotiate finds the version and brings all forms of an address to one: /v2.1/servers, /v2.1/PROJECT/servers, /v2/…
func (a *api) negotiate(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		root, rest := splitVersion(r.URL.Path)
		if root == "" || rest == "" {
			inner.ServeHTTP(w, r)
			return
		}
		n := negotiated{minor: MinMinor, legacy: root == "/v2"}
		if !n.legacy {
			minor, err := requested(r.Header)
			if err != nil {
				setVersion(w, MinMinor)
				dialect{}.Fault(w, r, wire.Status(err), err)
				return
			}
			n.minor = minor
			setVersion(w, minor)
		}
		if r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/") {
			// What has no identifier does not exist.
			dialect{}.Fault(w, r, http.StatusNotFound, errors.New("The resource could not be found."))
			return
		}
		if first := firstSegment(rest); !a.known[first] && strings.Count(rest, "/") > 1 {
			n.project, rest = first, strings.TrimPrefix(rest, "/"+first)
		}
		r = r.Clone(context.WithValue(r.Context(), negotiatedKey{}, n))
		r.URL.Path, r.URL.RawPath = "/v2.1"+rest, ""
		inner.ServeHTTP(w, r)
	})
}

func setVersion(w http.ResponseWriter, minor int) {
	version := fmt.Sprintf("2.%d", minor)
	w.Header().Set(newHeader, "compute "+version)
	w.Header().Set(oldHeader, version)
	w.Header().Add("Vary", newHeader)
	w.Header().Add("Vary", oldHeader)
}

func splitVersion(path string) (root, rest string) {
	for _, root := range []string{"/v2.1", "/v2"} {
		if after, ok := strings.CutPrefix(path, root); ok && (after == "" || after[0] == '/') {
			return root, strings.TrimSuffix(after, "/")
		}
	}
	return "", ""
}

func firstSegment(path string) string {
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return first
}

func versionEntry(r *http.Request, legacy bool) object {
	entry := object{
		"id": "v2.1", "status": "CURRENT", "version": fmt.Sprintf("2.%d", MaxMinor), "min_version": fmt.Sprintf("2.%d", MinMinor),
		"updated": "2013-07-23T11:33:21Z", "links": []object{{"rel": "self", "href": baseURL(r) + "/v2.1/"}},
	}
	if legacy {
		entry["id"], entry["status"], entry["version"], entry["min_version"], entry["updated"] = "v2.0", "SUPPORTED", "", "", "2011-01-21T11:33:21Z"
		entry["links"] = []object{{"rel": "self", "href": baseURL(r) + "/v2/"}}
	}
	return entry
}

func (a *api) listVersions(w http.ResponseWriter, r *http.Request) error {
	return wire.JSON(w, http.StatusOK, object{"versions": []object{versionEntry(r, true), versionEntry(r, false)}})
}

func (a *api) showVersion(w http.ResponseWriter, r *http.Request) error {
	legacy := strings.HasPrefix(r.URL.Path, "/v2") && !strings.HasPrefix(r.URL.Path, "/v2.1")
	entry := versionEntry(r, legacy)
	entry["links"] = append(entry["links"].([]object), object{"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"})
	number := "2.1"
	if legacy {
		number = "2"
	}
	entry["media-types"] = []object{{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=" + number}}
	return wire.JSON(w, http.StatusOK, object{"version": entry})
}

// baseURL is how the client reaches this server.
func baseURL(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	if forwarded := r.Header.Get("X-Forwarded-Proto"); forwarded == "https" || forwarded == "http" {
		scheme = forwarded
	}
	return scheme + "://" + r.Host
}
