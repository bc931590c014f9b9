// Package swift serves an [objectstore.Service] over HTTP as OpenStack's Object Storage API v1, so that the swift and
// openstack commands, gophercloud, rclone and Tempest work unchanged.
//
//	store, err := objectstore.New(ctx, db, memobjects.New(nil), nil)
//	handler := swift.Handler(store, tokens{}, &swift.Options{AuthURL: "http://127.0.0.1:5000/v3"})
//
// Give the handler a listener of its own. An http.ServeMux in front cleans paths, and names of objects may hold dots and
// slashes wherever they like. [Routes] are the operations as data; the API reference is
// https://docs.openstack.org/api-ref/object-store/, and what it leaves open is done as openstack/swift does it.
//
// Uploads and downloads stream in constant memory. A download is sent by the kernel (sendfile) where the store has files
// and the server speaks plain HTTP/1.1. Beside accounts, containers and objects there are copies, conditional and range
// requests, static and dynamic large objects, symbolic links, versions (in the container itself, and in another one as
// Swift did first), expiring objects, access control lists, quotas, temporary URLs, form uploads, static web sites, uploads
// of archives, deletion in bulk, and cross-origin requests. /info says which, with the limits that hold.
//
// It needs an objectstore.Service, an identity.Authenticator that says whose a token is (or nil, with [Options.Users]), and
// nothing of the host. The account of the project P is AUTH_P; who has one of [Options.OperatorRoles] in a project may do
// everything with its account, [Options.ResellerRole] with every account. Nobody in particular may read what is public.
//
// There is one storage policy, Policy-0. Containers are not synchronised with other clusters: X-Container-Sync-To is kept
// and does nothing. It serves plain HTTP: TLS is its server's business.
//
// Faults are what Swift's are: its statuses, with its short HTML page or one line of text. An upload that stalls for
// [Options.UploadIdle] is ended (408); one that is cut leaves nothing. Errors of the server's own are 500 without the
// reason, which goes to [Options.Log].
//
// The handler is safe for concurrent use and keeps no state: one that is killed loses the requests that it was serving,
// and the tokens that it gave out by [Options.Users].
package swift

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/kintoun/kintoun/identity"
	"github.com/kintoun/kintoun/internal/wire"
	"github.com/kintoun/kintoun/objectstore"
)

// Options are optional.
type Options struct {
	// AuthURL is the identity service's address, named to clients without a valid token; may be empty.
	AuthURL string
	// PublicURL is where clients reach this API ("https://cloud.example:8080"); empty is what the request says.
	PublicURL string
	// OperatorRoles are the roles that may do everything with their project's account; admin and member by default.
	OperatorRoles []string
	// ResellerRole may do everything with every account; ResellerAdmin by default.
	ResellerRole string
	// Users may log in at /auth/v1.0 with a name and a key, as Swift's TempAuth has it; none by default.
	Users []User
	// TokenLife is how long a token lasts that such a user gets; a day by default.
	TokenLife time.Duration
	// UploadIdle is how long an upload may stand still before it is ended; one minute by default.
	UploadIdle time.Duration
	// Now tells the time; time.Now by default.
	Now func() time.Time
	// Before is asked before each request, as by a rate limit; the error that it returns is the answer, with the status of
	// its kind or of its method HTTPStatus() int. It may set the answer's headers. Nil lets all pass.
	Before func(w http.ResponseWriter, r *http.Request) error
	// Log receives failures that are the server's own; nil discards them.
	Log *slog.Logger
}

func (o *Options) withDefaults() Options {
	var with Options
	if o != nil {
		with = *o
	}
	if with.OperatorRoles == nil {
		with.OperatorRoles = []string{"admin", "member"}
	}
	if with.ResellerRole == "" {
		with.ResellerRole = "ResellerAdmin"
	}
	if with.TokenLife <= 0 {
		with.TokenLife = 24 * time.Hour
	}
	if with.UploadIdle <= 0 {
		with.UploadIdle = time.Minute
	}
	if with.Now == nil {
		with.Now = time.Now
	}
	if with.Log == nil {
		with.Log = slog.New(slog.DiscardHandler)
	}
	return with
}

type api struct {
	store   *objectstore.Service
	auth    identity.Authenticator
	options Options
	logins  *logins
}

// Handler serves the API. The authenticator validates the tokens of those who call; it may be nil, and then only
// [Options.Users] are known.
func Handler(store *objectstore.Service, auth identity.Authenticator, options *Options) http.Handler {
	a := newAPI(store, auth, options)
	return &handler{api: a, routes: table(a.routes())}
}

// Routes are the operations that [Handler] serves, as data.
func Routes(store *objectstore.Service, options *Options) []wire.Route {
	return newAPI(store, nil, options).routes()
}

func newAPI(store *objectstore.Service, auth identity.Authenticator, options *Options) *api {
	a := &api{store: store, auth: auth, options: options.withDefaults()}
	a.logins = newLogins(a.options)
	return a
}

// The patterns of paths.
const (
	accountPath   = "/v1/{account}"
	containerPath = "/v1/{account}/{container}"
	objectPath    = "/v1/{account}/{container}/{object}"
)

func (a *api) routes() []wire.Route {
	return []wire.Route{
		{Method: "GET", Path: "/info", Serve: a.info, Public: true},
		{Method: "GET", Path: "/healthcheck", Serve: healthcheck, Public: true},
		{Method: "GET", Path: "/crossdomain.xml", Serve: crossdomain, Public: true},
		{Method: "GET", Path: "/auth/v1.0", Serve: a.login, Public: true},
		{Method: "GET", Path: "/v1/endpoints", Serve: unsupported, Unsupported: "there is no ring of devices whose addresses could be told"},

		{Method: "GET", Path: accountPath, Serve: serve(a.getAccount)},
		{Method: "HEAD", Path: accountPath, Serve: serve(a.headAccount)},
		{Method: "POST", Path: accountPath, Serve: serve(a.postAccount)},
		{Method: "PUT", Path: accountPath, Serve: serve(a.putAccount), MaxBody: -1},
		{Method: "DELETE", Path: accountPath, Serve: serve(a.deleteAccount)},
		{Method: "OPTIONS", Path: accountPath, Serve: serve(a.preflight), Public: true},

		{Method: "GET", Path: containerPath, Serve: serve(a.getContainer)},
		{Method: "HEAD", Path: containerPath, Serve: serve(a.headContainer)},
		{Method: "POST", Path: containerPath, Serve: serve(a.postContainer), MaxBody: -1},
		{Method: "PUT", Path: containerPath, Serve: serve(a.putContainer), MaxBody: -1},
		{Method: "DELETE", Path: containerPath, Serve: serve(a.deleteContainer)},
		{Method: "OPTIONS", Path: containerPath, Serve: serve(a.preflight), Public: true},

		{Method: "GET", Path: objectPath, Serve: serve(a.getObject)},
		{Method: "HEAD", Path: objectPath, Serve: serve(a.getObject)},
		{Method: "POST", Path: objectPath, Serve: serve(a.postObject), MaxBody: -1},
		{Method: "PUT", Path: objectPath, Serve: serve(a.putObject), MaxBody: -1},
		{Method: "COPY", Path: objectPath, Serve: serve(a.copyObject)},
		{Method: "DELETE", Path: objectPath, Serve: serve(a.deleteObject)},
		{Method: "OPTIONS", Path: objectPath, Serve: serve(a.preflight), Public: true},
	}
}
