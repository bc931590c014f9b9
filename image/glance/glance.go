// Package glance serves an [image.Service] over HTTP as OpenStack's Image API v2, so that the openstack command,
// glanceclient, gophercloud and Tempest work unchanged.
//
//	mux := http.NewServeMux()
//	mux.Handle("/", glance.Handler(images, tokens{}, &glance.Options{AuthURL: "http://127.0.0.1:5000/v3"}))
//
// Uploads and downloads stream in constant memory. [Routes] are the operations as data; the API reference is
// https://docs.openstack.org/api-ref/image/v2/.
//
// It needs an image.Service and an identity.Authenticator that says whose a token is, and nothing of the host. Where
// contents lie is shown to services, and to users if [Options.ShowLocations] says so; a location that is added is where a content
// is downloaded from, by the rules of web-download. docs/api-coverage.md lists every operation. Imports happen while
// [image.Service.Run] runs. It serves plain HTTP: TLS is its server's business.
//
// Faults are what Glance's are: HTML, or JSON for clients that ask for nothing else, with Glance's statuses. An upload
// that stalls for [Options.UploadIdle] is ended. Errors of the server's own are 500 without the reason, which goes to
// [Options.Log].
//
// The handler is safe for concurrent use and keeps no state: one that is killed loses the uploads that it was
// receiving, and nothing else.
package glance

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/image"
	"github.com/kintoun/kintoun/internal/wire"
)

// Options are optional.
type Options struct {
	// AuthURL is the identity service's address, named to clients without a valid token; may be empty.
	AuthURL string
	// PublicURL is where clients reach this API ("https://cloud.example:9292"); empty is what the request says.
	PublicURL string
	// UploadIdle is how long an upload may stand still before it is ended; one minute by default.
	UploadIdle time.Duration
	// ShowLocations shows users where the contents of images that they see are kept, as "locations" and "direct_url".
	ShowLocations bool
	// Before is asked before each request, as by a rate limit; the error that it returns is the answer, with the status of
	// its kind or of its method HTTPStatus() int. It may set the answer's headers. Nil lets all pass.
	Before func(w http.ResponseWriter, r *http.Request) error
	// Log receives failures that are the server's own; nil discards them.
	Log *slog.Logger
}

type api struct {
	images  *image.Service
	options Options
}

// Handler serves the API. The authenticator validates the tokens of those who call.
func Handler(images *image.Service, auth identity.Authenticator, options *Options) http.Handler {
	if options == nil {
		options = &Options{}
	}
	h := wire.NewHandler(Routes(images, options), dialect{}, wire.Options{Auth: auth, AuthURL: options.AuthURL, Before: options.Before, Log: options.Log})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// An image with an empty identifier is none, rather than the list of all.
		if r.URL.Path == "/v2/images/" {
			dialect{}.Fault(w, r, http.StatusNotFound, errors.New("the resource could not be found"))
			return
		}
		h.ServeHTTP(w, r)
	})
}

// Routes are the operations that [Handler] serves, as data.
func Routes(images *image.Service, options *Options) []wire.Route {
	a := &api{images: images}
	if options != nil {
		a.options = *options
	}
	if a.options.UploadIdle <= 0 {
		a.options.UploadIdle = time.Minute
	}
	return slices.Concat(schemaRoutes(), a.metadefRoutes(), a.importRoutes(), a.cacheRoutes(), a.locationRoutes(), []wire.Route{
		{Method: "GET", Path: "/", Serve: a.versions(http.StatusMultipleChoices), Public: true},
		{Method: "GET", Path: "/versions", Serve: a.versions(http.StatusOK), Public: true},

		{Method: "GET", Path: "/v2/images", Serve: a.list},
		{Method: "POST", Path: "/v2/images", Serve: a.create},
		{Method: "GET", Path: "/v2/images/{id}", Serve: a.show},
		{Method: "PATCH", Path: "/v2/images/{id}", Serve: a.update},
		{Method: "DELETE", Path: "/v2/images/{id}", Serve: a.delete},
		{Method: "PUT", Path: "/v2/images/{id}/file", Serve: a.upload, MaxBody: -1},
		{Method: "GET", Path: "/v2/images/{id}/file", Serve: a.download},
		{Method: "POST", Path: "/v2/images/{id}/actions/deactivate", Serve: a.deactivate},
		{Method: "POST", Path: "/v2/images/{id}/actions/reactivate", Serve: a.reactivate},
		{Method: "PUT", Path: "/v2/images/{id}/tags/{tag}", Serve: a.addTag},
		{Method: "DELETE", Path: "/v2/images/{id}/tags/{tag}", Serve: a.removeTag},

		{Method: "GET", Path: "/v2/images/{id}/members", Serve: a.listMembers},
		{Method: "POST", Path: "/v2/images/{id}/members", Serve: a.addMember},
		{Method: "GET", Path: "/v2/images/{id}/members/{member}", Serve: a.showMember},
		{Method: "PUT", Path: "/v2/images/{id}/members/{member}", Serve: a.setMember},
		{Method: "DELETE", Path: "/v2/images/{id}/members/{member}", Serve: a.removeMember},

		{Method: "GET", Path: "/v2/info/import", Serve: a.importInfo},
		{Method: "GET", Path: "/v2/info/stores", Serve: a.storesInfo},
		{Method: "GET", Path: "/v2/info/stores/detail", Serve: a.storesDetail},
		{Method: "DELETE", Path: "/v2/stores/{store}/{id}", Serve: a.deleteFromStore},
	})
}

func scope(r *http.Request) image.Scope {
	caller := identity.CallerFrom(r.Context())
	return image.Scope{ProjectID: caller.ProjectID, Admin: caller.IsAdmin(), Roles: caller.RoleNames()}
}

// empty answers 204.
func empty(w http.ResponseWriter) error {
	w.WriteHeader(http.StatusNoContent)
	return nil
}

type dialect struct{}

// Fault writes the error as Glance's web framework does: as HTML, or as JSON for who accepts that alone. What the
// authentication in front of it refuses is JSON always.
func (dialect) Fault(w http.ResponseWriter, r *http.Request, status int, err error) {
	title := http.StatusText(status)
	code := fmt.Sprintf("%d %s", status, title)
	var body []byte
	switch accept := r.Header.Get("Accept"); {
	case status == http.StatusUnauthorized:
		w.Header().Set("Content-Type", "application/json")
		body, _ = json.Marshal(map[string]any{"error": map[string]any{"code": status, "title": title, "message": err.Error()}})
	case strings.Contains(accept, "application/json") && !strings.Contains(accept, "text/html") && !strings.Contains(accept, "*/*"):
		w.Header().Set("Content-Type", "application/json")
		body, _ = json.Marshal(map[string]any{"code": code, "title": title, "message": err.Error()})
	default:
		w.Header().Set("Content-Type", "text/html; charset=UTF-8")
		body = fmt.Appendf(nil, "<html>\n <head>\n  <title>%[1]s</title>\n </head>\n <body>\n  <h1>%[1]s</h1>\n  %[2]s<br /><br />\n\n\n </body>\n</html>",
			code, html.EscapeString(err.Error()))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone cannot be told
}
