package cinder

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/volume"
)

// The microversions that are served: 3.MinMinor to 3.MaxMinor, each with its own bodies.
const (
	MinMinor = 0
	MaxMinor = 70
)

// root is what all paths but the versions' begin with.
const root = "/v3"

// negotiated is what a request's address and headers say about the version.
type negotiated struct {
	// minor is the microversion's second number.
	minor int
	// project is the one named in the address.
	project string
}

type negotiatedKey struct{}

func negotiatedFrom(ctx context.Context) negotiated {
	n, _ := ctx.Value(negotiatedKey{}).(negotiated)
	return n
}

const versionHeader = "OpenStack-API-Version"

var versionPattern = regexp.MustCompile(`^([1-9]\d*)\.([1-9]\d*|0)$`)

// requested reads the microversion that a client asks for; what it asks of other services does not matter.
func requested(h http.Header) (int, error) {
	asked := ""
	for _, part := range strings.Split(strings.Join(h.Values(versionHeader), ","), ",") {
		if service, version, ok := strings.Cut(strings.TrimSpace(part), " "); ok && service == "volume" {
			asked = strings.TrimSpace(version)
		}
	}
	switch asked {
	case "":
		return MinMinor, nil
	case "latest":
		return MaxMinor, nil
	}
	m := versionPattern.FindStringSubmatch(asked)
	if m == nil {
		return 0, fault.Wrap(volume.ErrInvalid, "API Version String %s is of invalid format. Must be of format MajorNum.MinorNum.", asked)
	}
	minor, err := strconv.Atoi(m[2])
	if m[1] != "3" || err != nil || minor > MaxMinor {
		return 0, wire.WithStatus(http.StatusNotAcceptable, fault.Wrap(volume.ErrUnsupported,
			"Version %s is not supported by the API. Minimum is 3.%d and maximum is 3.%d.", asked, MinMinor, MaxMinor))
	}
	return minor, nil
}

// negotiate finds the version and brings both forms of an address to one: /v3/PROJECT/volumes and /v3/volumes.
func (a *api) negotiate(inner http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rest, ok := strings.CutPrefix(r.URL.Path, root+"/")
		slash := strings.HasSuffix(rest, "/")
		rest = strings.TrimRight(rest, "/")
		if !ok || rest == "" {
			inner.ServeHTTP(w, r)
			return
		}
		minor, err := requested(r.Header)
		if err != nil {
			dialect{}.Fault(w, r, wire.Status(err), err)
			return
		}
		setVersion(w, minor)
		n := negotiated{minor: minor}
		if first, after, more := strings.Cut(rest, "/"); more && !a.known[first] {
			n.project, rest = first, after
		}
		if slash && !strings.Contains(rest, "/") && rest != "default-types" {
			// Something with an empty identifier is nothing, rather than the list of all.
			dialect{}.Fault(w, r, http.StatusNotFound, errors.New("The resource could not be found."))
			return
		}
		given := r
		r = r.Clone(context.WithValue(r.Context(), negotiatedKey{}, n))
		r.URL.Path, r.URL.RawPath = root+"/"+rest, ""
		inner.ServeHTTP(w, r)
		given.Pattern = r.Pattern // for whoever measures requests from outside
	})
}

func setVersion(w http.ResponseWriter, minor int) {
	w.Header().Set(versionHeader, fmt.Sprintf("volume 3.%d", minor))
	w.Header().Add("Vary", versionHeader)
}

// versions answers with what is served: 300 where the client has to choose, 200 where it has chosen.
func (a *api) versions(status int) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if status == http.StatusOK {
			setVersion(w, MinMinor)
		}
		return wire.JSON(w, status, object{"versions": []object{{
			"id": "v3.0", "status": "CURRENT", "version": fmt.Sprintf("3.%d", MaxMinor), "min_version": fmt.Sprintf("3.%d", MinMinor),
			"updated": "2022-08-31T00:00:00Z",
			"links": []object{
				{"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
				{"rel": "self", "href": baseURL(r) + root + "/"},
			},
			"media-types": []object{{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}},
		}}})
	}
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
