package s3

import (
	"encoding/xml"
	"errors"
	"net/http"

	"github.com/kintoun/kintoun/objectstore"
)

func (a *api) deleteObject(q *request) error {
	spec := objectstore.DeleteSpec{}
	var err error
	if spec.Version, spec.NullVersion, err = versionOf(q.query); err != nil {
		return err
	}
	if spec.Conditions, err = writeConditions(q.Header); err != nil {
		return err
	}
	done, err := a.remove(q, q.path, spec)
	if err != nil {
		return err
	}
	h := q.w.Header()
	if done.DeleteMarker {
		h.Set("X-Amz-Delete-Marker", "true")
	}
	switch {
	case spec.NullVersion:
		h.Set("X-Amz-Version-Id", nullVersion)
	case done.Version != "":
		h.Set("X-Amz-Version-Id", done.Version)
	}
	q.w.WriteHeader(http.StatusNoContent)
	return nil
}

// remove is happy when the object is not there, unless the client wanted it to be.
func (a *api) remove(q *request, path objectstore.Path, spec objectstore.DeleteSpec) (*objectstore.Deleted, error) {
	done, err := a.objects.Delete(q.Context(), q.caller, path, spec)
	gone := errors.Is(err, objectstore.ErrNoObject) || errors.Is(err, objectstore.ErrNoVersion)
	if gone && len(spec.Conditions.IfMatch) == 0 {
		return &objectstore.Deleted{Version: spec.Version}, nil
	}
	return done, err
}

type deleteRequest struct {
	XMLName xml.Name `xml:"Delete"`
	Quiet   bool
	Objects []struct {
		Key       string
		VersionID *string `xml:"VersionId"`
		ETag      string
	} `xml:"Object"`
}

type deletedEntry struct {
	Key                   string
	VersionID             string `xml:"VersionId,omitempty"`
	DeleteMarker          bool   `xml:",omitempty"`
	DeleteMarkerVersionID string `xml:"DeleteMarkerVersionId,omitempty"`
}

type deleteFailure struct {
	Key           string
	VersionID     string `xml:"VersionId,omitempty"`
	Code, Message string
}

type deleteResult struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ DeleteResult"`
	Deleted []deletedEntry
	Errors  []deleteFailure `xml:"Error"`
}

// maxDeletes is how many keys a request may name.
const maxDeletes = 1000

func (a *api) deleteObjects(q *request) error {
	var wish deleteRequest
	if err := q.xml(&wish); err != nil {
		return err
	}
	if n := len(wish.Objects); n == 0 || n > maxDeletes {
		return fail("MalformedXML", "One to %d keys can be deleted at once.", maxDeletes)
	}
	// Who may not look at the bucket is told of each key that it may not delete it, whether or not the bucket is there.
	if _, err := a.objects.Container(q.Context(), q.caller, q.bucket()); err != nil && !denied(err) {
		return err
	}
	var answer deleteResult
	for _, o := range wish.Objects {
		path := q.bucket()
		path.Object = o.Key
		spec := objectstore.DeleteSpec{}
		named := ""
		if o.VersionID != nil && *o.VersionID != "" {
			if named = *o.VersionID; named == nullVersion {
				spec.NullVersion = true
			} else {
				spec.Version = named
			}
		}
		spec.Conditions.IfMatch = etags(o.ETag)
		done, err := a.deleteOne(q, path, spec)
		if err != nil {
			e := toAPI(err)
			answer.Errors = append(answer.Errors, deleteFailure{o.Key, named, e.Code, e.Message})
			continue
		}
		if wish.Quiet {
			continue
		}
		entry := deletedEntry{Key: o.Key, VersionID: named, DeleteMarker: done.DeleteMarker}
		if done.DeleteMarker {
			entry.DeleteMarkerVersionID = versionName(done.Version)
		}
		answer.Deleted = append(answer.Deleted, entry)
	}
	return writeXML(q.w, http.StatusOK, answer)
}

// deleteOne logs what is the server's own failure; the others go on.
func (a *api) deleteOne(q *request, path objectstore.Path, spec objectstore.DeleteSpec) (*objectstore.Deleted, error) {
	if path.Object == "" {
		return nil, fail("MalformedXML", "A key is not empty.")
	}
	done, err := a.remove(q, path, spec)
	if err != nil && toAPI(err).Code == "InternalError" {
		a.options.Log.Error("delete failed", "request", q.w.Header().Get(headerRequestID), "key", path.Object, "error", err)
	}
	return done, err
}

func denied(err error) bool {
	return errors.Is(err, objectstore.ErrForbidden) || errors.Is(err, objectstore.ErrUnauthorized)
}
