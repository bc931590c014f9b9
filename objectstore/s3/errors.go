package s3

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/kintoun/kintoun/objectstore"
)

// apiError is an error as S3 answers it.
type apiError struct {
	Status        int
	Code, Message string
	// Fields are further elements of the answer, by name.
	Fields []field
}

type field struct{ name, value string }

func (e *apiError) Error() string { return e.Code + ": " + e.Message }

func (e *apiError) with(name, value string) *apiError {
	return &apiError{e.Status, e.Code, e.Message, append(e.Fields[:len(e.Fields):len(e.Fields)], field{name, value})}
}

// The codes of S3's API reference ("Error responses") with the status of each.
var statuses = map[string]int{
	"AccessControlListNotSupported": 400, "AccessDenied": 403, "AccessForbidden": 403, "AuthorizationHeaderMalformed": 400,
	"AuthorizationQueryParametersError": 400, "BadDigest": 400, "BucketAlreadyOwnedByYou": 409, "BucketNotEmpty": 409,
	"EntityTooLarge": 400, "EntityTooSmall": 400, "IllegalVersioningConfigurationException": 400, "IncompleteBody": 400,
	"InternalError": 500, "InvalidAccessKeyId": 403, "InvalidArgument": 400, "InvalidBucketName": 400, "InvalidChunkSizeError": 400,
	"InvalidDigest": 400, "InvalidLocationConstraint": 400, "InvalidPart": 400, "InvalidPartNumber": 416, "InvalidPartOrder": 400,
	"InvalidRange": 416, "InvalidRequest": 400, "InvalidStorageClass": 400, "InvalidTag": 400, "InvalidToken": 400, "InvalidURI": 400,
	"KeyTooLongError": 400, "MalformedACLError": 400, "MalformedPOSTRequest": 400, "MalformedTrailerError": 400, "MalformedXML": 400,
	"MaxMessageLengthExceeded": 400, "MetadataTooLarge": 400, "MethodNotAllowed": 405, "MissingContentLength": 411,
	"NoSuchBucket": 404, "NoSuchBucketPolicy": 404, "NoSuchConfiguration": 404, "NoSuchCORSConfiguration": 404, "NoSuchKey": 404,
	"NoSuchLifecycleConfiguration": 404, "NoSuchObjectLockConfiguration": 404, "NoSuchPublicAccessBlockConfiguration": 404,
	"NoSuchTagSet": 404, "NoSuchUpload": 404, "NoSuchVersion": 404, "NoSuchWebsiteConfiguration": 404, "NotImplemented": 501,
	"ObjectLockConfigurationNotFoundError": 404, "OperationAborted": 409, "OwnershipControlsNotFoundError": 404,
	"PreconditionFailed": 412, "QuotaExceeded": 403, "ReplicationConfigurationNotFoundError": 404, "RequestTimeout": 400,
	"RequestTimeTooSkewed": 403, "ServerSideEncryptionConfigurationNotFoundError": 404, "ServiceUnavailable": 503, "SlowDown": 503,
	"SignatureDoesNotMatch": 403, "XAmzContentSHA256Mismatch": 400,
}

// fail is an error of that code; a code that statuses lacks is the server's own failure.
func fail(code, format string, args ...any) *apiError {
	status, known := statuses[code]
	if !known {
		status = http.StatusInternalServerError
	}
	return &apiError{Status: status, Code: code, Message: fmt.Sprintf(format, args...)}
}

// notModified has neither a code nor a body.
var notModified = &apiError{Status: http.StatusNotModified, Code: "NotModified"}

// kinds are the domain's errors, the more special ones first.
var kinds = []struct {
	err           error
	code, message string
}{
	{objectstore.ErrNotModified, "NotModified", ""},
	{objectstore.ErrPrecondition, "PreconditionFailed", "At least one of the preconditions that you specified did not hold."},
	{objectstore.ErrNoUpload, "NoSuchUpload", "The upload does not exist: it may have been completed or aborted."},
	{objectstore.ErrNoVersion, "NoSuchVersion", "The object has no such version."},
	{objectstore.ErrNoObject, "NoSuchKey", "The key does not exist."},
	{objectstore.ErrNoContainer, "NoSuchBucket", "The bucket does not exist."},
	{objectstore.ErrNotFound, "NoSuchBucket", "The bucket does not exist."},
	{objectstore.ErrNotEmpty, "BucketNotEmpty", "The bucket is not empty."},
	{objectstore.ErrConflict, "OperationAborted", ""},
	{objectstore.ErrRange, "InvalidRange", "The requested range is not satisfiable."},
	{objectstore.ErrPartTooSmall, "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size."},
	{objectstore.ErrPartOrder, "InvalidPartOrder", "The list of parts was not in ascending order. Parts must be ordered by part number."},
	{objectstore.ErrPart, "InvalidPart", "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."},
	{objectstore.ErrChecksum, "BadDigest", "The content is not what its checksum says."},
	{objectstore.ErrIncomplete, "IncompleteBody", "The body ended before the announced number of bytes."},
	{objectstore.ErrQuota, "QuotaExceeded", ""},
	{objectstore.ErrForbidden, "AccessDenied", "Access Denied"},
	{objectstore.ErrUnauthorized, "AccessDenied", "Access Denied"},
	{objectstore.ErrTooLarge, "EntityTooLarge", ""},
	{objectstore.ErrUnsupported, "NotImplemented", ""},
	{objectstore.ErrTooFast, "SlowDown", "Please reduce your request rate."},
	{objectstore.ErrUnavailable, "ServiceUnavailable", "The service cannot answer now. Please try again."},
	{objectstore.ErrInvalid, "InvalidArgument", ""},
}

// toAPI finds what S3 calls the error. What has no name there is InternalError.
func toAPI(err error) *apiError {
	var own *apiError
	var tooLong *http.MaxBytesError
	var others interface{ HTTPStatus() int }
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &tooLong):
		return fail("MaxMessageLengthExceeded", "The request is too large.")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fail("IncompleteBody", "The body ended before the announced number of bytes.")
	}
	for _, k := range kinds {
		if !errors.Is(err, k.err) {
			continue
		}
		if k.code == notModified.Code {
			return notModified
		}
		if k.message == "" {
			return fail(k.code, "%s", err)
		}
		return fail(k.code, "%s", k.message)
	}
	if errors.As(err, &others) {
		code := "ServiceUnavailable"
		if others.HTTPStatus() == http.StatusTooManyRequests || others.HTTPStatus() == http.StatusServiceUnavailable {
			code = "SlowDown"
		}
		return &apiError{Status: others.HTTPStatus(), Code: code, Message: err.Error()}
	}
	return fail("InternalError", "We encountered an internal error. Please try again.")
}

// writeError answers with the error.
func writeError(w http.ResponseWriter, r *http.Request, e *apiError) {
	if e.Status == http.StatusNotModified || r.Method == http.MethodHead {
		w.WriteHeader(e.Status)
		return
	}
	var b strings.Builder
	b.WriteString(xml.Header + "<Error>")
	all := append([]field{{"Code", e.Code}, {"Message", e.Message}}, e.Fields...)
	all = append(all, field{"Resource", r.URL.Path}, field{"RequestId", w.Header().Get(headerRequestID)})
	for _, f := range all {
		b.WriteString("<" + f.name + ">")
		_ = xml.EscapeText(&b, []byte(f.value)) // a strings.Builder never fails
		b.WriteString("</" + f.name + ">")
	}
	b.WriteString("</Error>")
	w.Header().Set("Content-Type", "application/xml")
	w.Header().Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(e.Status)
	_, _ = io.WriteString(w, b.String()) // a client that has gone cannot be told
}
