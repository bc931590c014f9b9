// Package s3 serves an [objectstore.Service] over HTTP as Amazon's S3 API, so that the aws command, s3cmd, rclone, restic and
// the SDKs work unchanged. With any store behind the service it is an S3 bucket in a process of one's own:
//
//	keys := s3.StaticKeys{"AKIAEXAMPLE": {Secret: "secret", Caller: objectstore.Caller{Account: "demo"}}}
//	server := &http.Server{Handler: s3.Handler(objects, keys, nil), ReadHeaderTimeout: 10 * time.Second}
//
// The buckets are the containers of the account that the access key speaks for, and what is written here is read by the Swift
// dialect and the other way round: large objects of Swift's read as one object, and objects uploaded in parts too. A bucket of
// another account is called "account:bucket". [Operations] are what is served, as data, and docs/s3-operations.md
// is their table; the reference is https://docs.aws.amazon.com/AmazonS3/latest/API/.
//
// It needs the service, and [Keys]: who has which access key. Nothing is needed of the host. The handler is to be a server's
// own, or to stand behind something that leaves paths alone: [http.ServeMux] redirects keys with two slashes in a row.
// Requests are signed with Signature Version 4 (in the header, in the query, or chunk by chunk with trailers) or 2; those
// without a signature are nobody's, who may do what a bucket's access list allows everybody.
//
// Uploads and downloads stream in constant memory, and a file of the store goes out by sendfile(2). An upload becomes visible
// when it is whole and its length, its checksums and all its signatures held, and is gone otherwise. What a bucket can have and
// here has not (policies, encryption, object lock, replication, websites) is answered as not configured, and setting it up as
// NotImplemented. It has no access lists of single objects, one storage class, and no requests for parts of an object by SQL.
// It serves plain HTTP: TLS is its server's business.
//
// Errors are S3's documents with S3's codes and statuses. Those of the server's own are InternalError without the reason,
// which goes to [Options.Log].
//
// The handler is safe for concurrent use and keeps no state: one that is killed loses the requests that it was serving, and
// nothing else.
package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/kintoun/kintoun/internal/fault"
	"github.com/kintoun/kintoun/objectstore"
)

// Options are optional.
type Options struct {
	// Region is where the buckets are said to be; "us-east-1" by default. Requests may be signed for any region.
	Region string
	// Domains are the names that buckets are below, for clients that put the bucket into the host name: with
	// "s3.example.org", bucket.s3.example.org is a bucket.
	Domains []string
	// Account is whose buckets requests without a signature are about, where they do not say ("account:bucket"); empty for
	// none.
	Account string
	// Skew is how far the clocks of clients may be off; 15 minutes by default.
	Skew time.Duration
	// Idle is how long an upload may stand still before it is ended; one minute by default.
	Idle time.Duration
	// Now is the time; [time.Now] by default.
	Now func() time.Time
	// Before is asked before each request, as by a rate limit; the error that it returns is the answer, with the status of
	// its method HTTPStatus() int. It may set the answer's headers. Nil lets all pass.
	Before func(w http.ResponseWriter, r *http.Request) error
	// Log receives failures that are the server's own; nil discards them.
	Log *slog.Logger
}

// Keys finds access keys. An embedder has [StaticKeys] or brings its own.
type Keys interface {
	// Key returns the access key's secret and whom it speaks for; objectstore.ErrNotFound if there is no such key.
	Key(ctx context.Context, access string) (Key, error)
}

// Key is an access key.
type Key struct {
	Secret string
	// Caller has the rights; its Account is where the buckets are.
	Caller objectstore.Caller
}

// StaticKeys are keys that do not change, by access key.
type StaticKeys map[string]Key

// Key finds the key.
func (k StaticKeys) Key(_ context.Context, access string) (Key, error) {
	key, found := k[access]
	if !found {
		return Key{}, fault.Wrap(objectstore.ErrNotFound, "access key %q", access)
	}
	return key, nil
}

type api struct {
	objects *objectstore.Service
	keys    Keys
	options Options
}

// Handler serves the API.
func Handler(objects *objectstore.Service, keys Keys, options *Options) http.Handler {
	a := &api{objects: objects, keys: keys}
	if options != nil {
		a.options = *options
	}
	o := &a.options
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Skew <= 0 {
		o.Skew = 15 * time.Minute
	}
	if o.Idle <= 0 {
		o.Idle = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return a
}

const headerRequestID = "X-Amz-Request-Id"

// drainLimit is how much of a refused upload is still taken, so that a client that does not listen while it sends hears why.
const drainLimit = 16 << 20

// request is what the operations see of one.
type request struct {
	*http.Request
	w         http.ResponseWriter
	query     url.Values
	operation *Operation
	// path is the object or bucket; what is empty was not named.
	path objectstore.Path
	// host is the bucket's name where the host has it.
	host   string
	caller objectstore.Caller
	signed bool
	body   *payload
}

// ServeHTTP names the request, and keeps a panic from taking other requests with it.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID()
	w.Header().Set(headerRequestID, id)
	w.Header().Set("X-Amz-Id-2", id)
	defer func() {
		if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // the value that net/http panics with
			a.options.Log.Error("panic", "request", id, "method", r.Method, "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
			writeError(w, r, fail("InternalError", "We encountered an internal error. Please try again."))
		} else if p != nil {
			panic(p)
		}
	}()
	if a.options.Before != nil {
		if err := a.options.Before(w, r); err != nil {
			a.fail(w, r, err)
			return
		}
	}
	q, err := a.begin(w, r)
	if err == nil {
		err = q.operation.serve(a, q)
	}
	if err != nil {
		a.fail(w, r, err)
		if q != nil && q.signed {
			_, _ = io.CopyN(io.Discard, r.Body, drainLimit)
		}
	}
}

func requestID() string {
	var raw [8]byte
	_, _ = rand.Read(raw[:]) // never fails
	return hex.EncodeToString(raw[:])
}

// begin finds out what is asked, and by whom.
func (a *api) begin(w http.ResponseWriter, r *http.Request) (*request, error) {
	q := &request{Request: r, w: w}
	var err error
	if q.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
		return nil, fail("InvalidURI", "The query of the request is not well-formed.")
	}
	a.locate(q)
	a.allowOrigin(q)
	if q.operation, err = find(q); err != nil {
		return nil, err
	}
	if q.operation.Name != "PreflightRequest" && q.operation.Name != "PostObject" {
		if err := a.authenticate(q); err != nil {
			return nil, err
		}
	}
	if owner := r.Header.Get("X-Amz-Expected-Bucket-Owner"); owner != "" && owner != q.path.Account {
		return q, fail("AccessDenied", "Access Denied")
	}
	if longest := a.objects.Options().MaxNameLength; len(q.path.Object) > longest {
		return q, fail("KeyTooLongError", "Your key is too long").with("Size", strconv.Itoa(len(q.path.Object))).with("MaxSizeAllowed", strconv.Itoa(longest))
	}
	if q.operation.Unsupported != "" {
		return q, fail("NotImplemented", "%s", q.operation.Unsupported)
	}
	return q, nil
}

// fail answers with the error; what has no code is the server's own failure, logged and not told.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	e := toAPI(err)
	if e.Status == http.StatusInternalServerError && !errors.Is(err, context.Canceled) {
		a.options.Log.Error("request failed", "request", w.Header().Get(headerRequestID), "method", r.Method, "path", r.URL.Path, "error", err)
	}
	if errors.Is(err, objectstore.ErrDeleteMarker) {
		w.Header().Set("X-Amz-Delete-Marker", "true")
	}
	writeError(w, r, e)
}
